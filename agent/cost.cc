// SPDX-License-Identifier: Apache-2.0
#include "agent/cost.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>

#include "core/files.h"
#include "core/units.h"

namespace tare::agent {
namespace {

double seconds(const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; }

// Unix time of the boot: "btime" of /proc/stat.
double boot_time() {
  const auto stat = try_read_file("/proc/stat");
  return static_cast<double>(stat ? keyed_number(*stat, "btime").value_or(0) : 0);
}

}  // namespace

std::optional<ProcessCost> cost_of(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid);
  const auto stat = try_read_file(base + "/stat");
  const auto statm = try_read_file(base + "/statm");
  if (!stat || !statm || stat->rfind(')') == std::string::npos) return std::nullopt;
  std::istringstream fields(stat->substr(stat->rfind(')') + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;  // fields 14 and 15, in ticks
  for (int field = 16; field < 22; ++field) fields >> skipped;
  double started = 0;
  fields >> started;  // field 22, in ticks since boot
  std::istringstream pages(*statm);
  double total = 0;
  double resident = 0;
  pages >> total >> resident;
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  return ProcessCost{(user + system) / ticks, resident * page, total * page, boot_time() + started / ticks};
}

std::optional<double> open_descriptors() {
  std::error_code error;
  double count = 0;
  for (auto it = std::filesystem::directory_iterator("/proc/self/fd", error); it != std::filesystem::directory_iterator();
       it.increment(error)) {
    count += 1;
  }
  if (error) return std::nullopt;
  return count - 1;  // the one that reads the directory
}

std::optional<double> descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<double>(limit.rlim_cur);
}

bench::AgentCost agent_cost(const std::vector<pid_t>& helpers) {
  bench::AgentCost sum;
  // getrusage(2) counts our own CPU in microseconds; /proc/<pid>/stat only in ticks of 10 ms.
  rusage own{};
  ::getrusage(RUSAGE_SELF, &own);
  sum.cpu_seconds = seconds(own.ru_utime) + seconds(own.ru_stime);
  if (const auto self = cost_of(::getpid())) sum.memory_bytes = self->resident_bytes;
  for (const pid_t pid : helpers) {
    const auto helper = cost_of(pid);
    if (!helper) continue;
    sum.cpu_seconds += helper->cpu_seconds;
    sum.memory_bytes += helper->resident_bytes;
  }
  sum.wall_seconds = static_cast<double>(Instant::now().nanoseconds) * 1e-9;
  return sum;
}

}  // namespace tare::agent
