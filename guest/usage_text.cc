// SPDX-License-Identifier: Apache-2.0
#include "guest/usage_text.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>

namespace tare::guest {
namespace {

using Count = unsigned long long;

// The lines of a text, each by itself: sscanf() would go on into the next one.
class Lines {
 public:
  explicit Lines(const char* text) noexcept : rest_(text) {}
  /// nullptr after the last; what is too long is cut off.
  const char* next() noexcept {
    if (*rest_ == '\0') return nullptr;
    const std::size_t length = std::strcspn(rest_, "\n");
    const std::size_t kept = std::min(length, sizeof line_ - 1);
    std::memcpy(line_, rest_, kept);
    line_[kept] = '\0';
    rest_ += length + (rest_[length] == '\n' ? 1 : 0);
    return line_;
  }

 private:
  const char* rest_;
  char line_[512];
};

}  // namespace

CpuTicks cpu_ticks(const char* stat) noexcept {
  Count user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  std::sscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
  return {user + nice + system + irq + softirq, steal};
}

Traffic disk_traffic(const char* diskstats) noexcept {
  Traffic sum;
  Lines lines(diskstats);
  while (const char* line = lines.next()) {
    char name[32];
    Count reads = 0, read_sectors = 0, writes = 0, write_sectors = 0;
    if (std::sscanf(line, " %*u %*u %31s %llu %*u %llu %*u %llu %*u %llu", name, &reads, &read_sectors, &writes, &write_sectors) != 5)
      continue;
    if (std::strncmp(name, "vd", 2) != 0 || std::isdigit(static_cast<unsigned char>(name[std::strlen(name) - 1])) != 0)
      continue;  // a partition
    sum.in += reads, sum.in_bytes += read_sectors * 512;
    sum.out += writes, sum.out_bytes += write_sectors * 512;
  }
  return sum;
}

Traffic network_traffic(const char* dev) noexcept {
  Traffic sum;
  Lines lines(dev);
  while (const char* line = lines.next()) {
    char name[32];
    Count in_bytes = 0, in = 0, out_bytes = 0, out = 0;
    if (std::sscanf(line, " %31[^:\n|]:%llu %llu %*u %*u %*u %*u %*u %*u %llu %llu", name, &in_bytes, &in, &out_bytes, &out) != 5) continue;
    if (std::strcmp(name, "lo") == 0) continue;
    sum.in += in, sum.in_bytes += in_bytes;
    sum.out += out, sum.out_bytes += out_bytes;
  }
  return sum;
}

}  // namespace tare::guest
