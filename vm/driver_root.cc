// SPDX-License-Identifier: Apache-2.0
#include "vm/driver_root.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

constexpr int kPasses = 2000;  // of a millisecond each: how long a killed QEMU may take to be gone

using Arguments = std::vector<std::string>;

fs::path lock_file(const fs::path& root) { return root.string() + ".lock"; }

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(directory, missing)) found.push_back(entry.path());
  return found;
}

// The command line of a QEMU; nothing for any other process and for a zombie, which has none.
Arguments emulator_arguments(const fs::path& process) {
  Arguments arguments;
  if (!try_read_file(process / "comm").value_or("").starts_with("qemu-system")) return arguments;
  const std::string line = try_read_file(process / "cmdline").value_or("");
  for (std::size_t at = 0; at < line.size();) {
    arguments.push_back(line.substr(at, line.find('\0', at) - at));
    at += arguments.back().size() + 1;
  }
  return arguments;
}

std::map<pid_t, Arguments> emulators() {
  std::map<pid_t, Arguments> found;
  for (const fs::path& process : entries("/proc")) {
    const std::string pid = process.filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (Arguments arguments = emulator_arguments(process); !arguments.empty()) found[std::stoi(pid)] = std::move(arguments);
  }
  return found;
}

// By the directory itself and not by its name, which another agent may have spelt otherwise.
bool waits_in(const Arguments& arguments, const fs::path& directory) {
  const auto option = std::find(arguments.begin(), arguments.end(), "-pidfile");
  std::error_code gone;
  return option != arguments.end() && option + 1 != arguments.end() &&
         fs::equivalent(fs::path(*(option + 1)).parent_path(), directory, gone);
}

// Before SIGKILL the process is looked at once more through a descriptor that cannot come to mean another.
void kill_emulator(pid_t pid, const fs::path& directory) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process || !waits_in(emulator_arguments("/proc/" + std::to_string(pid)), directory)) return;
  ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
}

// Until none is found: one that is about to become a daemon may have forked behind a look. One that has not got so far finds no
// directory any more and ends by itself.
void end_probe(const fs::path& directory) {
  for (int pass = 0; pass < kPasses; ++pass) {
    bool any = false;
    for (const auto& [pid, arguments] : emulators()) {
      if (!waits_in(arguments, directory)) continue;
      any = true;
      kill_emulator(pid, directory);
    }
    if (!any) return remove_tree(directory);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw Error(Code::failed, "the QEMU that waits in " + directory.string() + " does not die");
}

// The domain that a file or directory of libvirt's belongs to: "<id>.xml", "domain-2-<id>".
std::optional<std::string> domain_of(const fs::path& path) {
  std::string name = path.filename();
  if (name.starts_with("domain-")) name.erase(0, name.find('-', 7) + 1);
  name.resize(std::min(name.find('.'), name.size()));
  const bool is_id = name.size() == 13 && name[0] == 't' && name.find_first_not_of("0123456789abcdef", 1) == std::string::npos;
  return is_id ? std::optional(name) : std::nullopt;
}

bool lives(const std::string& domain, const std::map<pid_t, Arguments>& emulators) {
  const std::string name = "guest=" + domain;
  return std::any_of(emulators.begin(), emulators.end(), [&](const auto& emulator) {
    const Arguments& arguments = emulator.second;
    return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& a) { return a == name || a.starts_with(name + ","); });
  });
}

void remove_traces_of_dead_domains(const fs::path& root) {
  std::vector<fs::path> traces;
  for (const char* place : {"run/qemu", "lib/qemu", "lib/qemu/channel/target", "log/qemu"}) {
    for (const fs::path& path : entries(root / place)) {
      if (domain_of(path)) traces.push_back(path);
    }
  }
  if (traces.empty()) return;
  const auto living = emulators();
  for (const fs::path& path : traces) {
    if (!lives(*domain_of(path), living)) remove_tree(path);
  }
}

void tidy(const fs::path& root) {
  for (const fs::path& path : entries(root / "lib" / "qemu")) {
    if (path.filename().string().starts_with("qmp-")) end_probe(path);
  }
  remove_traces_of_dead_domains(root);
}

// After tidy(): who has a record in it lives.
DriverRoot::Owner owner_of_root(const fs::path& root, const DriverRoot::OwnerOf& owner_of) {
  auto found = DriverRoot::Owner::nobody;
  for (const fs::path& record : entries(root / "run" / "qemu")) {
    const auto domain = domain_of(record);
    const auto owner = domain && owner_of ? owner_of(*domain) : DriverRoot::Owner::nobody;
    if (owner == DriverRoot::Owner::us) return owner;
    if (owner == DriverRoot::Owner::others) found = owner;
  }
  return found;
}

}  // namespace

DriverRoot DriverRoot::claim(const Paths& paths, const OwnerOf& owner_of) {
  const FileLock choosing = FileLock::wait(paths.state / "libvirt.lock");
  std::optional<DriverRoot> first;
  for (int n = 0;; ++n) {
    const fs::path root = paths.state / ("libvirt-" + std::to_string(n));
    if (first && !fs::exists(root)) return std::move(*first);
    auto lock = FileLock::try_lock(lock_file(root));
    if (!lock) continue;
    tidy(root);
    const Owner owner = owner_of_root(root, owner_of);
    if (owner == Owner::us) return {root, std::move(*lock)};
    if (owner == Owner::nobody && !first) first = DriverRoot(root, std::move(*lock));
  }
}

void tidy_driver_roots(const Paths& paths) {
  std::vector<fs::path> roots;
  for (const fs::path& path : entries(fs::absolute(paths.state))) {
    const std::string name = path.filename();
    std::error_code gone;
    if (name.starts_with("libvirt-") && fs::is_directory(path, gone)) roots.push_back(path);
  }
  if (roots.empty()) return;
  const FileLock choosing = FileLock::wait(paths.state / "libvirt.lock");
  for (const fs::path& root : roots) {
    if (const auto lock = FileLock::try_lock(lock_file(root))) tidy(root);
  }
}

}  // namespace tare::vm
