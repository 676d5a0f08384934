// SPDX-License-Identifier: Apache-2.0
#include "tests/perf/peer.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "core/error.h"
#include "core/files.h"

namespace tare::perf {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr const char* kDockerGroup = "tare-peer";

[[noreturn]] void serve(const std::vector<std::string>& command, const Peer::Options& options, int from, int to) {
  // Nothing of other peers may stay open here, or they would never read the end of their pipes.
  const int kept = ::fcntl(to, F_DUPFD, 10);
  const int ask = ::dup2(from, 3);
  const int answer = ::dup2(kept, 4);
  ::syscall(SYS_close_range, 5U, ~0U, 0U);
  ::fcntl(ask, F_SETFD, FD_CLOEXEC);
  ::fcntl(answer, F_SETFD, FD_CLOEXEC);
  if (options.hide_v2) {
    ::unshare(CLONE_NEWNS);
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    ::umount2("/sys/fs/cgroup/unified", MNT_DETACH);
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const std::string& entry : options.environment) ::putenv(const_cast<char*>(entry.c_str()));  // NOLINT: one thread, for good
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));  // NOLINT: execve's type
  arguments.push_back(nullptr);
  char byte;
  while (::read(ask, &byte, 1) == 1) {
    const Instant start = Instant::now();
    const pid_t child = ::vfork();
    if (child == 0) {
      ::dup2(null, STDIN_FILENO);
      ::dup2(null, STDOUT_FILENO);
      if (options.quiet) ::dup2(null, STDERR_FILENO);
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    const double seconds = status == 0 ? std::chrono::duration<double>(Instant::now() - start).count() : -1;
    if (::write(answer, &seconds, sizeof seconds) != sizeof seconds) break;
  }
  ::_exit(0);
}

/// The bundle of an OCI runtime.
fs::path make_bundle(const fs::path& parent, const fs::path& rootfs, const std::string& name, const std::vector<std::string>& command) {
  const fs::path bundle = parent / name;
  fs::create_directories(bundle);
  check_tool({"runc", "spec", "--bundle", bundle}, Deadline::in(10s));
  std::string spec = read_file(bundle / "config.json");
  const auto replace = [&](const std::string& from, const std::string& to) {
    const auto at = spec.find(from);
    if (at == std::string::npos) throw Error(Code::failed, "runc spec gives no " + from);
    spec.replace(at, from.size(), to);
  };
  std::string words;
  for (const std::string& word : command) words += (words.empty() ? "\"" : ", \"") + word + "\"";
  replace("\"terminal\": true", "\"terminal\": false");
  replace("\"sh\"", words);
  replace("\"path\": \"rootfs\"", "\"path\": \"" + rootfs.string() + "\"");
  replace("\"resources\": {", "\"cgroupsPath\": \"/tare/peer-" + name +
                                  "\",\n\"resources\": {\"memory\": {\"limit\": 268435456}, "
                                  "\"cpu\": {\"quota\": 200000, \"period\": 100000}, \"pids\": {\"limit\": 100},");
  write_file_atomic(bundle / "config.json", spec);
  return bundle;
}

}  // namespace

Peer::Peer(const std::vector<std::string>& command, const Options& options) {
  int ask[2];
  int answer[2];
  if (::pipe2(ask, O_CLOEXEC) != 0 || ::pipe2(answer, O_CLOEXEC) != 0) throw_errno("pipe");
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(ask[1]);
    serve(command, options, ask[0], answer[1]);
  }
  ::close(ask[0]);
  ::close(answer[1]);
  ask_ = Fd(ask[1]);
  answer_ = Fd(answer[0]);
}

Peer::~Peer() {
  ask_.reset();
  ::waitpid(pid_, nullptr, 0);
}

double Peer::sample() {
  double seconds = -1;
  write_all(ask_.get(), "x", "peer");
  if (::read(answer_.get(), &seconds, sizeof seconds) != sizeof seconds || seconds < 0) throw Error(Code::failed, "its command failed");
  return seconds;
}

std::function<double()> sampler(const std::function<std::unique_ptr<Peer>()>& make) {
  try {
    return [peer = std::shared_ptr<Peer>(make())] { return peer->sample(); };
  } catch (const Error& error) {
    return [why = error.sentence()]() -> double { throw Error(Code::unavailable, why); };
  }
}

std::vector<std::string> oci_command(const std::string& runtime, const fs::path& directory, const fs::path& rootfs,
                                     const std::vector<std::string>& command) {
  return {runtime,
          "--root",
          directory / (runtime + "-state"),
          "run",
          "--bundle",
          make_bundle(directory, rootfs, runtime, command),
          "tare-perf-" + runtime};
}

DockerDaemon::DockerDaemon(const fs::path& directory, const fs::path& rootfs) : directory_(directory) {
  for (const char* program : {"dockerd", "docker", "unshare"}) {
    if (!find_program(program)) throw Error(Code::unavailable, std::string(program) + " is not installed");
  }
  fs::create_directories(directory_);
  const std::string at = directory_;
  // The v2 tree of the hybrid layout would make it take the host for v2 only.
  const std::string script = "ip link set lo up; umount -l /sys/fs/cgroup/unified 2>/dev/null; exec dockerd --data-root " + at +
                             "/data --exec-root " + at + "/exec --pidfile " + at + "/pid --host unix://" + at +
                             "/socket --ip6tables=false --userland-proxy=false --cgroup-parent /" + kDockerGroup + " >" + at + "/log 2>&1";
  Child::Options options;
  options.argv = {"unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script};
  daemon_ = std::make_unique<Child>(Child::spawn(options));
  const Deadline deadline = Deadline::in(30s);
  while (!run_tool(client({"version"}), Deadline::in(10s)).exit.ok()) {
    if (deadline.passed()) throw Error(Code::unavailable, "dockerd does not answer");
    std::this_thread::sleep_for(100ms);
  }
  check_tool({"tar", "-C", rootfs, "-cf", at + "/image.tar", "."}, Deadline::in(30s));
  check_tool(client({"import", at + "/image.tar", "peer:1"}), Deadline::in(30s));
}

DockerDaemon::~DockerDaemon() {
  if (!daemon_) return;
  daemon_->signal(SIGTERM);
  daemon_->wait(Deadline::in(20s));
  std::error_code gone;
  for (const auto& hierarchy : fs::directory_iterator("/sys/fs/cgroup", gone)) ::rmdir((hierarchy.path() / kDockerGroup).c_str());
}

std::vector<std::string> DockerDaemon::client(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"docker", "--host", "unix://" + (directory_ / "socket").string()});
  return arguments;
}

}  // namespace tare::perf
