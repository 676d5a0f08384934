// SPDX-License-Identifier: Apache-2.0
#include "guest/kernel.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace tare::guest {

std::int64_t now() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::uint64_t ticks() noexcept { return __rdtsc(); }

namespace {

// "ktime                                   : 1234.567890", milliseconds with the nanoseconds behind the point.
bool nanoseconds_of(const char* text, const char* key, std::int64_t& value) noexcept {
  const char* line = std::strstr(text, key);
  const char* number = line != nullptr ? std::strchr(line, ':') : nullptr;
  if (number == nullptr) return false;
  char* point = nullptr;
  const long long milliseconds = std::strtoll(number + 1, &point, 10);
  if (*point != '.') return false;
  value = milliseconds * 1'000'000 + std::strtoll(point + 1, nullptr, 10);
  return true;
}

bool entry_by_scheduler(std::int64_t& entry) noexcept {
  if (mount("debugfs", "/sys/kernel/debug", "debugfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "") != 0) return false;
  const char* text = read_text("/sys/kernel/debug/sched/debug");  // one read(2): its header
  std::int64_t monotonic = 0, scheduler = 0;
  const bool told = nanoseconds_of(text, "\nktime ", monotonic) && nanoseconds_of(text, "\nsched_clk ", scheduler);
  umount2("/sys/kernel/debug", MNT_DETACH);
  entry = monotonic - scheduler;
  return told;
}

std::int64_t entry_by_log() noexcept {
  const int fd = open("/dev/kmsg", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return 0;
  char record[256];
  std::int64_t entry = 0;
  lseek(fd, 0, SEEK_END);  // what comes after the newest record
  const char line[] = "<7>tare-init\n";
  const std::int64_t before = now();
  if (write(fd, line, sizeof line - 1) > 0) {
    const std::int64_t after = now();
    const ssize_t size = read(fd, record, sizeof record - 1);  // "priority,sequence,microseconds,flags;text"
    record[size > 0 ? size : 0] = '\0';
    const char* field = std::strchr(record, ',');
    field = field != nullptr ? std::strchr(field + 1, ',') : nullptr;
    if (field != nullptr) entry = (before + after) / 2 - std::strtoll(field + 1, nullptr, 10) * 1000;
  }
  close(fd);
  return entry;
}

}  // namespace

std::int64_t kernel_entry() noexcept {
  std::int64_t entry = 0;
  return entry_by_scheduler(entry) ? entry : entry_by_log();
}

void announce(const char* text) noexcept {
  char line[512];
  const int size = std::snprintf(line, sizeof line, "<0>tare-init: %s\n", text);
  const int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (size > 0 && write(fd, line, static_cast<std::size_t>(size)) < 0) return;
  close(fd);
}

void complain(const char* step, int error) noexcept {
  char text[400];
  std::snprintf(text, sizeof text, "%s: %s", step, std::strerror(error));
  announce(text);
}

bool load_modules(const char* list) noexcept {
  static char names[4096];
  const int list_fd = open(list, O_RDONLY | O_CLOEXEC);
  if (list_fd < 0) return errno == ENOENT;  // a kernel that has everything built in
  const ssize_t size = read(list_fd, names, sizeof names - 1);
  close(list_fd);
  names[size > 0 ? size : 0] = '\0';
  char* rest = names;
  while (char* path = strsep(&rest, "\n")) {
    if (*path == '\0') continue;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const long failed = fd < 0 ? -1 : syscall(SYS_finit_module, fd, "", 0);
    if (failed != 0 && errno != EEXIST) {
      complain(path, errno);
      return false;
    }
    close(fd);
  }
  return true;
}

bool set_clock(std::int64_t realtime) noexcept {
  const timespec time{static_cast<time_t>(realtime / 1'000'000'000), static_cast<long>(realtime % 1'000'000'000)};
  return clock_settime(CLOCK_REALTIME, &time) == 0;
}

bool reseed(std::string_view seed) noexcept {
  int pool[2 + 16] = {};  // struct rand_pool_info: bits of entropy, bytes, the bytes
  const std::size_t size = seed.size() < 16 * sizeof(int) ? seed.size() : 16 * sizeof(int);
  pool[0] = static_cast<int>(size * 8);
  pool[1] = static_cast<int>(size);
  std::memcpy(pool + 2, seed.data(), size);
  const int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
  const bool done = fd >= 0 && ioctl(fd, RNDADDENTROPY, pool) == 0 && ioctl(fd, RNDRESEEDCRNG) == 0;
  if (fd >= 0) close(fd);
  return done;
}

bool write_text(const char* path, const char* text) noexcept {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const std::size_t size = std::strlen(text);
  const bool written = write(fd, text, size) == static_cast<ssize_t>(size);
  close(fd);
  return written;
}

const char* read_text(const char* path) noexcept {
  static char text[16384];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[size > 0 ? size : 0] = '\0';
  return text;
}

std::uint64_t number_after(const char* text, const char* key) noexcept {
  const std::size_t length = std::strlen(key);
  for (const char* line = text; line != nullptr && *line != '\0';) {
    if (std::strncmp(line, key, length) == 0) return std::strtoull(line + length, nullptr, 10);
    line = std::strchr(line, '\n');
    if (line != nullptr) ++line;
  }
  return 0;
}

void power_off() noexcept {
  // A reset ends QEMU at once, because it runs with -no-reboot; power-off would first wait for ACPI.
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}

}  // namespace tare::guest
