// SPDX-License-Identifier: Apache-2.0
#include "vm/accelerator.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/fd.h"
#include "core/files.h"
#include "core/process.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPassed = "tare-init: self-test passed";  // what tare-init prints at the word tare.selftest

std::string identity(const fs::path& file) {
  std::error_code error;
  const auto time = fs::last_write_time(file, error).time_since_epoch().count();
  return file.string() + " " + std::to_string(fs::file_size(file, error)) + " " + std::to_string(time) + "\n";
}

// Everything that the verdict depends on. The initramfs is named by its digest, which covers tare-init.
std::string key_of(const SelfTest& test) {
  return try_read_file("/proc/sys/kernel/random/boot_id").value_or("") + identity(test.emulator) + test.kernel.string() + "\n" +
         test.initramfs.string() + "\n";
}

std::optional<std::string> open_failure(const fs::path& device) {
  const Fd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (fd) return std::nullopt;
  return errno_text("open " + device.string());
}

// Boots the guest's kernel on KVM without any device but the console. Nothing when it reached tare-init, else what happened.
std::optional<std::string> boot_failure(const SelfTest& test, const fs::path& directory) {
  const fs::path console = directory / "console";
  VmPlan plan;
  plan.accelerator = Accelerator::kvm;
  Child::Options options;
  options.argv = {test.emulator.string(),
                  "-machine",
                  "microvm,accel=kvm,acpi=on",
                  "-cpu",
                  "host,arch-capabilities=off",
                  "-m",
                  "256",
                  "-nodefaults",
                  "-no-user-config",
                  "-display",
                  "none",
                  "-no-reboot",
                  "-serial",
                  "file:" + console.string(),
                  "-kernel",
                  test.kernel.string(),
                  "-initrd",
                  test.initramfs.string(),
                  "-append",
                  command_line(plan) + " tare.selftest"};
  const Fd errors = open_file(directory / "stderr", O_WRONLY | O_CREAT);
  options.stderr_fd = errors.get();
  options.die_with_parent = true;
  Child child = Child::spawn(options);
  const auto exit = child.wait(Deadline::in(test.deadline));
  if (try_read_file(console).value_or("").find(kPassed) != std::string::npos) return std::nullopt;
  if (!exit) return "a stock kernel did not reach its init within " + text_of_seconds(std::chrono::duration<double>(test.deadline).count());
  std::string said = try_read_file(directory / "stderr").value_or("");
  said.resize(std::min(said.find('\n'), said.size()));
  return "QEMU ended with " + text_of(*exit) + (said.empty() ? std::string() : ": " + said);
}

// Root is refused by a device control group or a container around it, which no command of this host opens.
std::string access_remedy(const fs::path& device) {
  if (::geteuid() == 0) return "let the container or control group around this system have " + device.string();
  struct stat status {};
  const bool known = ::stat(device.c_str(), &status) == 0;
  const group* owner = known ? ::getgrgid(status.st_gid) : nullptr;  // NOLINT(concurrency-mt-unsafe): asked under the backend's lock
  const passwd* user = ::getpwuid(::geteuid());                      // NOLINT(concurrency-mt-unsafe)
  return std::string("usermod --append --groups ") + (owner != nullptr ? owner->gr_name : "kvm") + " " +
         (user != nullptr ? user->pw_name : "$USER");
}

// Why the device cannot even be opened; nothing when it can. It costs nothing, so it is asked every time: its remedy works at once.
std::optional<Verdict> without_device(const fs::path& device) {
  if (!fs::exists(device)) {
    return Verdict{Accelerator::tcg, "this host has no " + device.string(),
                   "enable virtualisation in the firmware, then: modprobe kvm_intel (or kvm_amd)", false};
  }
  if (const auto failure = open_failure(device)) {
    return Verdict{Accelerator::tcg, *failure, access_remedy(device), false};
  }
  return std::nullopt;
}

Verdict boot_on_kvm(const Paths& paths, const SelfTest& test) {
  const TempDir directory(paths.guest());
  if (const auto failure = boot_failure(test, directory.path())) {
    return {Accelerator::tcg, test.device.string() + " is there but does not run a guest: " + *failure,
            "measure virtual machines on a host with hardware virtualisation", true};
  }
  return {Accelerator::kvm, "", "", true};
}

std::optional<Verdict> kept(const fs::path& file, const std::string& key) {
  const std::string text = try_read_file(file).value_or("");
  if (text.rfind(key, 0) != 0) return std::nullopt;
  std::array<std::string, 3> lines;
  std::size_t at = key.size();
  for (std::string& line : lines) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) return std::nullopt;
    line = text.substr(at, end - at);
    at = end + 1;
  }
  return Verdict{lines[0] == "kvm" ? Accelerator::kvm : Accelerator::tcg, lines[1], lines[2], true};
}

// `user = "name"` of a libvirt configuration, without the quotes; a leading '+' marks a number.
std::string configured_user(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line;
    for (const char c : text.substr(at, end - at)) {
      if (c != ' ' && c != '\t') line += c;
    }
    if (line.rfind("user=\"", 0) == 0) return line.substr(6, line.find('"', 6) - 6);
    at = end + 1;
  }
  return "libvirt-qemu";
}

bool may_use(const struct stat& device, const passwd& user) {
  if (user.pw_uid == 0) return true;
  if (device.st_uid == user.pw_uid) return (device.st_mode & 0600) == 0600;
  std::vector<gid_t> groups(256);
  int count = static_cast<int>(groups.size());
  if (::getgrouplist(user.pw_name, user.pw_gid, groups.data(), &count) < 0) count = 0;
  for (int i = 0; i < count; ++i) {
    if (groups[static_cast<std::size_t>(i)] == device.st_gid) return (device.st_mode & 0060) == 0060;
  }
  return (device.st_mode & 0006) == 0006;
}

}  // namespace

Verdict choose_accelerator(const Paths& paths, const SelfTest& test) {
  if (auto verdict = without_device(test.device)) return *verdict;
  fs::create_directories(paths.guest());
  const fs::path file = paths.guest() / "accelerator";
  const std::string key = key_of(test);
  if (const auto verdict = kept(file, key)) return *verdict;
  const FileLock lock = FileLock::wait(paths.guest() / "accelerator.lock");  // two agents need not test at the same time
  if (const auto verdict = kept(file, key)) return *verdict;
  const Verdict verdict = boot_on_kvm(paths, test);
  write_file_atomic(file, key + std::string(name(verdict.accelerator)) + "\n" + verdict.reason + "\n" + verdict.remedy + "\n");
  return verdict;
}

KvmAccess kvm_access_of_emulator_user(const fs::path& qemu_conf, const fs::path& device) {
  KvmAccess access;
  access.user = configured_user(try_read_file(qemu_conf).value_or(""));
  struct stat status {};
  if (::stat(device.c_str(), &status) != 0) return access;  // without KVM there is nothing to probe
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getpwnam_r(access.user.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return access;
  access.readable = may_use(status, *found);
  return access;
}

}  // namespace tare::vm
