// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <random>

#include "bench/statistics.h"

namespace tare::bench::statistics {
namespace {

constexpr double kTail = 0.025;  // on each side of 95 %

double cumulative(double z) { return boost::math::cdf(boost::math::normal(), z); }
double normal_quantile(double p) { return boost::math::quantile(boost::math::normal(), p); }

// Indices below n, two from each draw. (half · n) >> 32 favours no index by more than n / 2³², which no interval of 10 000 resamples shows;
// std::uniform_int_distribution would differ between standard libraries.
class Indices {
 public:
  Indices(std::uint64_t seed, std::size_t n) : engine_(seed), n_(n) {}
  std::size_t next() {
    if (!has_half_) draw_ = engine_();
    const std::uint64_t half = has_half_ ? draw_ >> 32U : draw_ & 0xffffffffU;
    has_half_ = !has_half_;
    return static_cast<std::size_t>((half * n_) >> 32U);
  }

 private:
  std::mt19937_64 engine_;
  std::uint64_t n_;
  std::uint64_t draw_ = 0;
  bool has_half_ = false;
};

// Medians of the resamples, sorted.
std::vector<double> resampled_medians(const std::vector<double>& values, std::uint64_t seed) {
  Indices indices(seed, values.size());
  std::vector<double> medians(kResamples);
  std::vector<double> resample(values.size());
  for (double& result : medians) {
    for (double& value : resample) value = values[indices.next()];
    result = median(resample);
  }
  std::sort(medians.begin(), medians.end());
  return medians;
}

// Efron & Tibshirani (14.15): a sixth of the jackknife values' skewness.
double acceleration(const std::vector<double>& values) {
  std::vector<double> jackknife;
  for (std::size_t left_out = 0; left_out < values.size(); ++left_out) {
    std::vector<double> rest = values;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(left_out));
    jackknife.push_back(median(std::move(rest)));
  }
  double mean = 0;
  for (const double value : jackknife) mean += value / static_cast<double>(jackknife.size());
  double squares = 0;
  double cubes = 0;
  for (const double value : jackknife) {
    squares += (mean - value) * (mean - value);
    cubes += (mean - value) * (mean - value) * (mean - value);
  }
  return squares > 0 ? cubes / (6 * std::pow(squares, 1.5)) : 0;
}

// Efron & Tibshirani (14.14): share of resamples equal to or below the estimate, as a normal quantile. Medians of resamples are a few
// discrete values, so those equal to the estimate count half; the clamp keeps the quantile finite.
double bias(const std::vector<double>& medians, double estimate) {
  const auto [first, last] = std::equal_range(medians.begin(), medians.end(), estimate);
  const double below = static_cast<double>(first - medians.begin()) + 0.5 * static_cast<double>(last - first);
  const auto count = static_cast<double>(medians.size());
  return normal_quantile(std::clamp(below / count, 1 / (count + 1), count / (count + 1)));
}

}  // namespace

std::optional<std::pair<double, double>> median_interval(const std::vector<double>& values, std::uint64_t seed) {
  if (values.size() < kLeastForInterval) return std::nullopt;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (*least == *most) return std::pair(*least, *most);
  const std::vector<double> medians = resampled_medians(values, seed);
  const double z0 = bias(medians, median(values));
  const double a = acceleration(values);
  const auto end_at = [&](double tail) {
    const double z = z0 + normal_quantile(tail);
    return quantile(medians, cumulative(z0 + z / (1 - a * z)));
  };
  return std::pair(end_at(kTail), end_at(1 - kTail));
}

std::uint64_t seed_for(std::uint64_t seed, std::string_view words) {
  std::uint64_t hash = 0xcbf29ce484222325U ^ seed;
  for (const char c : words) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return hash;
}

}  // namespace tare::bench::statistics
