// SPDX-License-Identifier: Apache-2.0
#include "vm/orphan_reaper.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "core/files.h"

namespace tare::vm {
namespace {

// "4711 (qemu-system-x86) Z <parent> <group> <session> …". A QEMU that made itself a daemon left our session; the child that libvirt
// forked, and waits for itself, is still in it.
bool dead_orphan(const std::string& stat) {
  const std::size_t begin = stat.find('('), end = stat.rfind(')');
  if (begin == std::string::npos || end == std::string::npos || stat.compare(begin + 1, 11, "qemu-system") != 0) return false;
  char state = 0;
  int parent = 0, group = 0, session = 0;
  std::istringstream fields(stat.substr(end + 1));
  return fields >> state >> parent >> group >> session && state == 'Z' && session != ::getsid(0);
}

void reap_dead_orphans() {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::istringstream children(try_read_file(task.path() / "children").value_or(""));
    for (std::string pid; children >> pid;) {
      if (dead_orphan(try_read_file("/proc/" + pid + "/stat").value_or(""))) ::waitpid(std::stoi(pid), nullptr, WNOHANG);
    }
  }
}

}  // namespace

OrphanReaper::OrphanReaper(std::chrono::milliseconds after) : thread_([this, after] { run(after); }) {}

OrphanReaper::~OrphanReaper() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void OrphanReaper::run(std::chrono::milliseconds after) {
  std::unique_lock lock(mutex_);
  for (auto pause = after; !changed_.wait_for(lock, pause, [this] { return stop_; }); pause = std::chrono::milliseconds(10)) {
    reap_dead_orphans();
  }
}

}  // namespace tare::vm
