// SPDX-License-Identifier: Apache-2.0
// Robust statistics of a handful of samples. Pure functions; no one here knows what was measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace tare::bench::statistics {

/// Middle value; mean of the two middle values for an even number. Requires a value.
double median(std::vector<double> values);
/// Median of the absolute deviations from the median, not scaled to a standard deviation.
double mad(const std::vector<double>& values);
/// Quantile of type 7 of Hyndman & Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996): linear between the
/// order statistics around 1 + (n − 1) p. What R and NumPy do when not told otherwise.
double quantile(std::vector<double> values, double p);

// bootstrap.cc

/// No interval of 95 % exists for a median below this: the widest there is, minimum to maximum, covers it with 1 − 2·0.5ⁿ, which is less
/// than 0.95 up to n = 5.
constexpr std::size_t kLeastForInterval = 6;
constexpr int kResamples = 10000;

/// 95 % interval of the median by the bias-corrected and accelerated bootstrap: Efron, "Better Bootstrap Confidence Intervals", Journal of
/// the American Statistical Association 82 (1987); Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 14. Bias counts
/// resamples below the estimate and half of those equal to it; acceleration is the jackknife's, 0 where the jackknife does not vary. Absent
/// with fewer than kLeastForInterval values. The same values and seed give the same interval on every platform.
std::optional<std::pair<double, double>> median_interval(const std::vector<double>& values, std::uint64_t seed);

/// A number from a seed and words, so that each interval has resamples of its own whatever is computed before it (FNV-1a).
std::uint64_t seed_for(std::uint64_t seed, std::string_view words);

}  // namespace tare::bench::statistics
