// Package compare judges a canary against the stable revision that runs beside it, by a sequential test that may be looked
// at after every block of samples. It is pure: no clock, no client, no randomness, and the same blocks give the same bits.
//
// A Block holds what each pod of both arms did between two moments: requests, and those of them that were bad. Bad is an
// error, or a request slower than a bound; a latency metric is watched at up to four bounds. One metric at one bound is a
// signal. Realised counts stand in the place of weights everywhere, so the split may change at will.
//
// Latency is also watched by its mean, a gauge by its level, and pods by their restarts: see means, levels and addRestarts.
//
// Two different proofs are kept of every signal:
//
//	Harm    may the canary be halted? Given the bad requests of a block, how many of them fell on the canary is compared
//	        with what would be expected if it were worse by exactly the margin that is borne. The evidence is an e-process:
//	        its mean is at most 1 under the null hypothesis at every moment, so by Ville's inequality it ever reaches
//	        1/alpha with a probability of at most alpha, however often one looks.
//	Safety  may it get more traffic? The mirror image: the excess that would use up the harm budget at the next weight
//	        must be ruled out. That nothing bad was shown is never a reason to step.
//
// Sources. The conditional test with alternatives mixed over a grid is the two-arm case of Lindon and Malek, Anytime-valid
// inference for multinomial count data (arXiv 2011.03567), with a margin and with an allocation of its own for each block;
// sequential testing of canaries is that of Lindon, Sanden and Shirikian, Rapid regression detection in software deployments
// through sequential testing (arXiv 2205.14762); e-values, their averages and Ville's inequality: Ramdas, Grünwald, Vovk and
// Shafer, Game-theoretic statistics and safe anytime-valid inference (arXiv 2210.01948). That the binomial bounds the
// hypergeometric: Hoeffding 1963. Dispersion by Pearson's statistic and quasi-likelihood: McCullagh and Nelder, Generalized
// Linear Models, chapter 9.
//
// Means and levels: mixtures of normal likelihood ratios (Robbins 1970), asymptotic where variances are estimated (Waudby-Smith
// and others, arXiv 2103.06476). What makes pods unlike for minutes on end is no noise that averages out: it widens the margin, to
// three standard deviations of stable's pods, and what makes them unlike from block to block is divided by.
//
// Limits. The bound alpha is exact for independent requests, a known margin and a ratio of stable that does not have to be
// estimated. Bursts and pods that differ are met by dividing by the dispersion between stable pods, which is an approximation;
// so is the absolute part of a margin, which uses stable's ratio of earlier blocks. test/verdicts measures what is left.
package compare
