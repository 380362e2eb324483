// Package deliverypolicy says of each DeliveryPolicy and ClusterDeliveryPolicy whether its expression compiles, so that it
// is known before a Sync has to refuse a bundle for it. It writes status alone, and only what is new.
package deliverypolicy
