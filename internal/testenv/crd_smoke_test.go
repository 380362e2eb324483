package testenv

import "testing"

func TestCRDsAreEstablished(t *testing.T) { New(t) }
