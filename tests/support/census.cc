// SPDX-License-Identifier: Apache-2.0
#include "tests/support/census.h"

#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <thread>

#include "core/files.h"
#include "core/nft.h"
#include "core/units.h"

namespace tare::test {
namespace fs = std::filesystem;
namespace {

std::set<std::string> names_in(const fs::path& directory, const std::string& prefix = {}) {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(prefix)) names.insert(name);
  }
  return names;
}

// Below a `tare` directory in the root of each hierarchy: /sys/fs/cgroup itself on v2, its subdirectories on v1 and hybrid.
std::set<std::string> groups() {
  std::set<std::string> found;
  std::set<fs::path> roots = {"/sys/fs/cgroup"};
  for (const std::string& name : names_in("/sys/fs/cgroup")) roots.insert(fs::path("/sys/fs/cgroup") / name);
  for (const fs::path& root : roots) {
    std::error_code error;
    if (!fs::is_directory(root / "tare", error)) continue;
    // A group may go while it is looked at, which ends the walk.
    for (auto at = fs::recursive_directory_iterator(root / "tare", error); !error && at != fs::end(at); at.increment(error)) {
      if (std::error_code gone; at->is_directory(gone)) found.insert(at->path());
    }
  }
  return found;
}

std::set<std::string> rules() {
  std::set<std::string> found = {"ip_forward=" + std::to_string(try_read_number("/proc/sys/net/ipv4/ip_forward").value_or(0))};
  if (::geteuid() != 0 || !nft::is_available()) return found;
  std::istringstream lines(nft::run("list tables\n", "list tables"));
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" tare") != std::string::npos) found.insert(line);
  }
  return found;
}

std::set<std::string> mounts() {
  std::set<std::string> points;
  std::istringstream lines(read_file("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;  // the fifth field is the mount point
    points.insert(field);
  }
  return points;
}

std::set<std::string> claims(const Paths& paths) {
  std::set<std::string> found = names_in(paths.id_ranges());
  found.erase("lock");
  return found;
}

std::set<std::string> processes(const Paths& paths) {
  std::set<std::string> found;
  for (const std::string& pid : names_in("/proc")) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto cgroup = try_read_file("/proc/" + pid + "/cgroup").value_or("");
    const auto command = try_read_file("/proc/" + pid + "/cmdline").value_or("");
    if (command.empty()) continue;  // a zombie, which its parent has yet to reap: PID 1 of some hosts takes seconds
    // A domain's QEMU has its monitor there, and so has one that is only asked what it can do.
    const bool emulator = command.find((paths.state / "libvirt-").string()) != std::string::npos;
    const bool ours =
        emulator || cgroup.find(":/tare/") != std::string::npos || command.find(paths.instances().string() + "/") != std::string::npos;
    if (ours) found.insert(pid + " " + command.substr(0, command.find('\0')));
  }
  return found;
}

std::set<std::string> programs() {
  std::set<std::string> found;
  for (const std::string& pid : names_in("/proc")) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code gone;
    const fs::path program = fs::read_symlink("/proc/" + pid + "/exe", gone);
    // A launcher that listens outlives its agents for a while, by design.
    const std::string command = try_read_file("/proc/" + pid + "/cmdline").value_or("");
    if (command.find("--listen") != std::string::npos) continue;
    if (program == TARE_BINARY_DIR "/bin/tare" || program == TARE_BINARY_DIR "/bin/tare-agent" ||
        program == TARE_BINARY_DIR "/libexec/tare/tare-guard") {
      found.insert(pid + " " + program.filename().string());
    }
    // A launcher runs from a sealed copy of its file; the command line still names that.
    const fs::path named = fs::path(command.substr(0, command.find('\0'))).lexically_normal();
    if (named == TARE_BINARY_DIR "/libexec/tare/tare-launcher") found.insert(pid + " tare-launcher");
  }
  return found;
}

// Directories and files of one owner's own, in all places where tare makes them.
std::set<std::string> temporary(const Paths& paths) {
  std::set<std::string> found;
  const auto add = [&](const fs::path& place, const std::string& prefix) {
    for (const std::string& name : names_in(place, prefix)) found.insert(place / name);
  };
  for (const fs::path& place : {fs::path("/tmp"), fs::path("/var/tmp"), paths.guest(), paths.images()}) add(place, "tare-");
  add(paths.run, "private-");
  for (const fs::path& place : {paths.state, paths.guest(), paths.images()}) {
    for (const std::string& name : names_in(place)) {
      if (name.find(".tmp-") != std::string::npos) found.insert(place / name);
    }
  }
  return found;
}

// What libvirt keeps of each domain while it lives, and of each QEMU that it asks what it can do.
std::set<std::string> records(const Paths& paths) {
  std::set<std::string> found;
  for (const std::string& root : names_in(paths.state, "libvirt-")) {
    const auto add = [&](const fs::path& place, const std::string& prefix) {
      for (const std::string& name : names_in(paths.state / root / place, prefix)) found.insert(root / place / name);
    };
    add("run/qemu", "t");
    add("log/qemu", "t");
    add("lib/qemu", "domain-");
    add("lib/qemu", "qmp-");
    add("lib/qemu/channel/target", "domain-");
  }
  return found;
}

}  // namespace

Census census(const Paths& paths) {
  return {groups(),         names_in("/sys/class/net", "tare"),
          rules(),          mounts(),
          claims(paths),    names_in(paths.instances()),
          processes(paths), programs(),
          temporary(paths), records(paths)};
}

Census settled_census(const Paths& paths, const Census& before) {
  Census now = census(paths);
  for (const Deadline deadline = Deadline::in(std::chrono::seconds(2)); now.records != before.records && !deadline.passed();) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    now.records = records(paths);
  }
  return now;
}

void PrintTo(const Census& census, std::ostream* out) {
  const auto print = [&](const char* title, const std::set<std::string>& names) {
    *out << "\n" << title << " (" << names.size() << "):";
    if (names.size() > 40) return;
    for (const std::string& name : names) *out << " " << name;
  };
  print("control groups", census.control_groups);
  print("interfaces", census.interfaces);
  print("rules", census.rules);
  print("mounts", census.mounts);
  print("ranges of ids", census.id_ranges);
  print("instances", census.instances);
  print("processes", census.processes);
  print("programs", census.programs);
  print("temporary", census.temporary);
  print("records of libvirt", census.records);
}

}  // namespace tare::test
