// SPDX-License-Identifier: Apache-2.0
// The vm backend by way of a libvirtd of the host (vm.connection: qemu:///system), as Debian sets it up: QEMU runs as libvirt-qemu, and
// tare is not its parent. The daemon is the test's own, in a mount namespace in which whatever it writes goes to a tmpfs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "container/cgroup.h"
#include "core/error.h"
#include "core/files.h"
#include "core/process.h"
#include "tests/support/census.h"
#include "vm/guest_kernel.h"
#include "vm/vm_backend.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using namespace std::chrono_literals;

// libvirtd with its log keeper, on a socket of its own and with an empty root for what it keeps.
class Libvirtd {
 public:
  Libvirtd() {
    // /dev/kvm is hidden, because libvirt spends a minute where QEMU's user cannot open it (`tare doctor` says so).
    ::chmod(directory_.path().c_str(), 0755);  // QEMU's user comes through here
    std::ofstream(directory_.path() / "libvirtd.conf") << "unix_sock_dir = \"" << directory_.path().string() << "\"\n"
                                                       << "auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n"
                                                       << "log_outputs = \"3:file:" << (directory_.path() / "log").string() << "\"\n";
    std::ofstream(directory_.path() / "qemu.conf") << "cgroup_controllers = []\n";  // it would leave its groups on this host
    const std::string script = "set -e; cd " + directory_.path().string() +
                               "; mkdir -p /run/libvirt; mount -t tmpfs none /run/libvirt"
                               "; for d in /etc /var/lib /var/cache /var/log; do mkdir -p over$d/upper over$d/work"
                               "; mount -t overlay -o lowerdir=$d,upperdir=over$d/upper,workdir=over$d/work none $d; done"
                               "; [ ! -e /dev/kvm ] || mount --bind /dev/null /dev/kvm; mkdir -p /etc/libvirt; cp qemu.conf /etc/libvirt/; "
                               "/usr/sbin/virtlogd -t 300 -p virtlogd.pid & "
                               "exec /usr/sbin/libvirtd -f libvirtd.conf -p libvirtd.pid";
    Child::Options options;
    options.argv = {"unshare", "--mount", "--propagation", "private", "sh", "-c", script};
    output_ = open_file(directory_.path() / "output", O_RDWR | O_CREAT);
    options.stdout_fd = output_.get();
    options.stderr_fd = output_.get();
    options.die_with_parent = true;
    daemon_.emplace(Child::spawn(options));
    const Deadline deadline = Deadline::in(20s);
    while (!fs::exists(socket()) && !deadline.passed()) std::this_thread::sleep_for(10ms);
  }
  ~Libvirtd() {
    if (const auto keeper = try_read_number(directory_.path() / "virtlogd.pid")) ::kill(static_cast<pid_t>(*keeper), SIGTERM);
    daemon_->signal(SIGTERM);
    daemon_->wait(Deadline::in(10s));
  }
  fs::path socket() const { return directory_.path() / "libvirt-sock"; }
  std::string said() const {
    return try_read_file(directory_.path() / "output").value_or("") + try_read_file(directory_.path() / "log").value_or("");
  }

 private:
  TempDir directory_{"/var/tmp"};
  Fd output_;
  std::optional<Child> daemon_;
};

// Processes of this host in the control group of instance `id`, by their own account.
std::vector<int> members_of(const std::string& id) {
  std::vector<int> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (try_read_file(entry.path() / "cgroup").value_or("").find("/tare/" + id + "\n") != std::string::npos)
      found.push_back(std::stoi(pid));
  }
  return found;
}

// Lines of the threads' /proc/…/cgroup in hierarchies where the process is in the group of instance `id` and the thread is not.
std::string strays(const fs::path& process, const std::string& id) {
  std::string found;
  const std::string whole = read_file(process / "cgroup");
  for (const auto& thread : fs::directory_iterator(process / "task")) {
    const std::string own = try_read_file(thread.path() / "cgroup").value_or(whole);
    if (own != whole || own.find("/tare/" + id + "\n") == std::string::npos) found += thread.path().filename().string() + ": " + own;
  }
  return found;
}

TEST(VmBySystemLibvirt, RunsAWorkloadAsQemusOwnUserInItsControlGroupAndLeavesNothing) {
  ASSERT_EQ(::geteuid(), 0U) << "needs root";
  Paths paths;
  const TempDir directory("/var/tmp");
  ::chmod(directory.path().c_str(), 0755);
  paths.state = directory.path();
  paths.run = directory.path() / "run";
  paths.libexec = fs::path(TARE_BINARY_DIR) / "libexec" / "tare";
  const fs::path rootfs = directory.path() / "rootfs";
  fs::create_directories(rootfs / "bin");
  fs::copy_file(fs::path(TARE_BINARY_DIR) / "bin" / "vm-test-program", rootfs / "bin" / "program");
  Libvirtd daemon;
  ASSERT_TRUE(fs::exists(daemon.socket())) << daemon.said();

  VmSettings settings;
  settings.uri = "qemu:///system?socket=" + daemon.socket().string();
  settings.kernel = find_kernel(Paths::from_environment(), {}).vmlinuz.parent_path();
  settings.accelerator = Accelerator::tcg;
  const std::shared_ptr<ControlGroups> groups = container::make_control_groups();
  const auto backend = make_backend({paths, groups, std::make_shared<image::Store>(paths), settings});
  const Probe probe = backend->probe();
  ASSERT_TRUE(probe.able) << probe.reason << "\n" << daemon.said();
  EXPECT_THAT(probe.details.at("usage"), HasSubstr("not counted"));
  Workload workload;
  workload.name = "test";
  workload.image = "dir:" + rootfs.string();
  workload.command = {"/bin/program", "wait"};
  backend->prepare(workload);
  const test::Census before = test::census(paths);

  Timeline timeline;
  timeline.mark(Mark::requested);
  const auto instance = backend->start(workload, timeline);
  ASSERT_TRUE(instance->log().wait_for_line(0, Deadline::in(20s)));
  const std::vector<int> members = members_of(instance->id());
  ASSERT_EQ(members.size(), 1U) << "QEMU alone";
  const std::string emulator = "/proc/" + std::to_string(members[0]);
  EXPECT_THAT(read_file(emulator + "/cmdline"), HasSubstr("guest=" + instance->id()));
  EXPECT_THAT(read_file(emulator + "/status"), HasSubstr("Uid:\t" + std::to_string(::getpwnam("libvirt-qemu")->pw_uid) + "\t"));
  EXPECT_EQ(strays(emulator, instance->id()), "");
  EXPECT_GT(instance->usage().memory_pss.value(), 30_MiB);
  instance->signal(SIGTERM);
  EXPECT_EQ(*instance->wait(Deadline::in(10s)), (Exit{3, false, false}));
  instance->remove();
  // Whoever inherited QEMU from libvirtd reaps it when it finds the time.
  const Deadline deadline = Deadline::in(10s);
  while (!(test::census(paths) == before) && !deadline.passed()) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(test::census(paths), before);
}

}  // namespace
}  // namespace tare::vm
