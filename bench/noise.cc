// SPDX-License-Identifier: Apache-2.0
#include "bench/noise.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <sstream>

#include "core/files.h"

namespace tare::bench {
namespace {

// Shares of the window, each with a floor in seconds: /proc/stat counts ticks of 10 ms, so a window of a few milliseconds cannot be judged
// by one tick that happened to fall into it.
constexpr double kStealShare = 0.005;
constexpr double kStealFloor = 0.02;
constexpr double kForeignShare = 0.25;  // of one CPU: kernel threads that work for the instance (writeback, RCU) are charged to nobody
constexpr double kForeignFloor = 0.05;
constexpr double kPressureShare = 0.25;  // threads of the instance also wait for each other here
constexpr double kPressureFloor = 0.05;

void read_stat(const std::string& text, NoiseReading& reading) {
  std::istringstream lines(text);
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, 3, "cpu") != 0) break;
    if (line.size() > 3 && line[3] != ' ') {
      ++reading.cpus;
      continue;
    }
    // user nice system idle iowait irq softirq steal; guest time is part of user already (proc(5)).
    std::istringstream numbers(line.substr(4));
    std::array<double, 8> t{};
    std::size_t count = 0;
    while (count < t.size() && numbers >> t[count]) ++count;
    if (count < t.size()) continue;
    reading.busy = (t[0] + t[1] + t[2] + t[5] + t[6]) / ticks;
    reading.steal = t[7] / ticks;
  }
}

std::string with_numbers(const char* format, double seconds, double window) {
  std::array<char, 160> out{};
  std::snprintf(out.data(), out.size(), format, seconds, window);
  return out.data();
}

}  // namespace

NoiseReading read_noise(const std::filesystem::path& root) {
  NoiseReading reading;
  if (const auto stat = try_read_file(root / "proc/stat")) read_stat(*stat, reading);
  if (const auto pressure = try_read_file(root / "proc/pressure/cpu")) {
    const std::size_t total = pressure->find("total=");
    if (total != std::string::npos) reading.pressure = std::strtod(pressure->c_str() + total + 6, nullptr) / 1e6;
  }
  if (const auto vmstat = try_read_file(root / "proc/vmstat")) {
    const auto in = keyed_number(*vmstat, "pswpin");
    const auto out = keyed_number(*vmstat, "pswpout");
    if (in && out) reading.swaps = *in + *out;
  }
  reading.at = Instant::now();
  return reading;
}

std::optional<Disturbance> disturbance(const NoiseReading& before, const NoiseReading& after, double own_cpu) {
  const double window = std::chrono::duration<double>(after.at - before.at).count();
  if (window <= 0) return std::nullopt;
  if (before.steal && after.steal) {
    const double steal = *after.steal - *before.steal;
    if (steal > kStealFloor && steal > kStealShare * window * (after.cpus > 0 ? after.cpus : 1)) {
      return Disturbance{"steal", with_numbers("the hypervisor below kept %.2f CPU seconds of %.3f s from this host", steal, window)};
    }
  }
  if (before.busy && after.busy) {
    const double foreign = *after.busy - *before.busy - own_cpu;
    if (foreign > kForeignFloor && foreign > kForeignShare * window) {
      return Disturbance{"foreign-cpu", with_numbers("others used %.2f CPU seconds during %.3f s", foreign, window)};
    }
  }
  if (before.pressure && after.pressure) {
    const double waited = *after.pressure - *before.pressure;
    if (waited > kPressureFloor && waited > kPressureShare * window) {
      return Disturbance{"pressure", with_numbers("tasks waited for a CPU during %.2f s of %.3f s", waited, window)};
    }
  }
  if (before.swaps && after.swaps && *after.swaps > *before.swaps) {
    return Disturbance{"swap",
                       with_numbers("%.0f pages were swapped during %.3f s", static_cast<double>(*after.swaps - *before.swaps), window)};
  }
  return std::nullopt;
}

}  // namespace tare::bench
