// SPDX-License-Identifier: Apache-2.0
#include "vm/share.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/mount_rules.h"
#include "core/mount_sources.h"
#include "vm/unix_address.h"

namespace tare::vm {
namespace fs = std::filesystem;
namespace {

// The kernel's words for a bind and a volume of a container: nodev everywhere, and no set-user-ID programs in what tare keeps.
MountSource source_of(const Mount& mount, const Paths& paths) {
  const bool volume = mount.type == Mount::Type::volume;
  const std::string path = volume ? (fs::absolute(paths.volumes()) / mount.source).string() : mount.source;
  return {path, mount.target, mount.read_only, !volume, false};
}

// QEMU finds it listening, however late virtiofsd is. QEMU's user's alone: who connects has the directory.
Fd listen_at(const fs::path& path, std::optional<std::uint32_t> user) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = unix_address(path, "share");
  if (!socket || ::fchmod(socket.get(), 0600) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(socket.get(), 1) != 0) {
    throw_errno("listen on " + path.string());
  }
  if (user) change_owner(path, *user);
  return socket;
}

// As virtiofsd's option parser reads a path.
std::string option_text(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

Share::Share(const Mount& mount, std::uint16_t number, const Settings& settings)
    : target_(mount.target),
      socket_(settings.directory / ("share-" + std::to_string(number))),
      log_(settings.directory / ("share-" + std::to_string(number) + ".log")) {
  const Fd tree = open_requested_source(source_of(mount, settings.paths), settings.paths, settings.who);
  struct stat status {};
  if (::fstat(tree.get(), &status) != 0) throw_errno(settings.who + ": mount " + mount.target);
  is_file_ = !S_ISDIR(status.st_mode);
  const Fd socket = listen_at(socket_, settings.user);
  const Fd log = open_file(log_, O_WRONLY | O_CREAT | O_APPEND, 0600);
  const fs::path stage = fs::absolute(settings.paths.mount_point());
  fs::create_directories(stage);
  Child::Options options;
  options.argv = {settings.paths.libexec / "tare-share", stage, is_file_ ? "file" : "directory", find_virtiofsd(), "--fd=3",
                  // What another writes is seen within a second, and a program in it can be mapped, which cache=none does not allow.
                  "-o", "source=" + option_text(stage), "-o", "cache=auto", "-o", "sandbox=namespace"};
  if (::access(options.argv[0].c_str(), X_OK) != 0) {
    throw Error(Code::unavailable, settings.who + ": " + options.argv[0] + " is missing", "build and install all of tare");
  }
  options.extra_environment = {"TARE_TASKS=" + settings.tasks};
  options.stdin_fd = tree.get();
  options.stdout_fd = socket.get();
  options.stderr_fd = log.get();
  options.new_session = true;
  server_ = Child::spawn(options);
  pid_ = server_->pid();
}

Share::Share(const Mount& mount, std::uint16_t number, const fs::path& directory, const std::string& server)
    : target_(mount.target),
      socket_(directory / ("share-" + std::to_string(number))),
      log_(directory / ("share-" + std::to_string(number) + ".log")) {
  const pid_t pid = std::atoi(server.c_str());  // NOLINT(cert-err34-c): process_identity() wrote it, or it is none
  Fd process(pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1);
  if (!process || !is_alive(server)) return;  // looked at once more through a descriptor that cannot come to mean another
  pid_ = pid;
  process_ = std::move(process);
}

void Share::leave() noexcept {
  if (server_) server_->release();
  server_.reset();
  process_.reset();
}

// One that is nobody's has ended.
bool Share::has_ended(Deadline deadline) {
  if (server_) return server_->pid() < 0 || server_->wait(deadline).has_value();
  pollfd gone{process_.get(), POLLIN, 0};
  return !process_ || ::poll(&gone, 1, deadline.poll_timeout()) > 0;
}

// virtiofsd waits for a child of its own, which does the work in its namespaces. That one first: an orphan would be ours to reap.
Share::~Share() {
  if (!server_ && !process_) return;
  const std::string pid = std::to_string(pid_);
  for (int attempt = 0; attempt < 100 && !has_ended(Deadline::in(std::chrono::milliseconds(10))); ++attempt) {
    std::istringstream children(try_read_file("/proc/" + pid + "/task/" + pid + "/children").value_or(""));
    for (int child = 0; children >> child;) ::kill(child, SIGKILL);
  }
}

std::string Share::last_words() {
  if (!has_ended(Deadline::in(std::chrono::seconds(0)))) return {};
  std::string text = try_read_file(log_).value_or("");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return "mount " + target_ + ": virtiofsd ended: " + text.substr(text.rfind('\n') + 1);
}

std::vector<GuestMount> guest_mounts(const Workload& workload) {
  std::vector<Mount> mounts = workload.mounts;
  std::stable_sort(mounts.begin(), mounts.end(), [](const Mount& a, const Mount& b) { return is_mounted_before(a.target, b.target); });
  std::vector<GuestMount> out;
  std::uint16_t shares = 0;
  for (Mount& mount : mounts) {
    const bool memory = mount.type == Mount::Type::tmpfs;
    const auto kind = memory ? guest::MountAt::Kind::tmpfs : guest::MountAt::Kind::directory;
    out.push_back({std::move(mount), kind, memory ? std::uint16_t{0} : shares++});
  }
  return out;
}

bool needs_share(const Workload& workload) {
  return std::any_of(workload.mounts.begin(), workload.mounts.end(), [](const Mount& m) { return m.type != Mount::Type::tmpfs; });
}

fs::path find_virtiofsd() {
  for (const char* path : {"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  throw Error(Code::unavailable, "virtiofsd is missing, which gives a guest its binds and volumes", "apt-get install qemu-system-common");
}

}  // namespace tare::vm
