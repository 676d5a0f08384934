// SPDX-License-Identifier: Apache-2.0
// Bad input and a host that lacks something: the real program, one clear sentence, the documented exit code, nothing left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <fstream>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/process.h"
#include "tests/support/census.h"

namespace tare {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using test::census;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

const std::string kTare = TARE_BINARY_DIR "/bin/tare";

// A suite of one workload that takes no time; `workload` and `experiment` are further YAML lines of each.
std::string suite(const std::string& backends, const std::string& command, const std::string& workload = "",
                  const std::string& experiment = "") {
  return "name: bad-input\nbackends: " + backends + "\nworkloads:\n  w:\n    image: tare/probe\n    command: " + command +
         "\n    ready: exit\n    limits: {memory: 128MiB}\n" + workload +
         "experiments:\n  - name: e\n    measure: start\n    workload: w\n    trials: 1\n    warmup: 0\n    timeout: 60s\n" + experiment;
}

class BadInput : public testing::Test {
 protected:
  void SetUp() override { before_ = census(paths_); }
  void TearDown() override {
    fs::remove_all(dir_.path() / "results");
    // A launcher whose agent was killed sees it within milliseconds, and needs some to end what ran.
    const Deadline deadline = Deadline::in(seconds(5));
    while (!(census(paths_) == before_) && !deadline.passed()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(census(paths_), before_);
  }

  fs::path write(const std::string& text) {
    const fs::path path = dir_.path() / "suite.yaml";
    std::ofstream(path) << text;
    return path;
  }
  std::vector<std::string> bench(const std::string& text, const std::string& results = "results") {
    return {kTare, "bench", write(text).string(), "--results", (dir_.path() / results).string(), "--seed", "1"};
  }
  // In a mount namespace of its own, after `preparation`, which cannot touch the host's mounts.
  static std::vector<std::string> after(const std::string& preparation, std::vector<std::string> command) {
    std::vector<std::string> wrapped = {"unshare", "--mount", "--propagation", "private", "sh", "-c", preparation + "; exec \"$0\" \"$@\""};
    wrapped.insert(wrapped.end(), command.begin(), command.end());
    return wrapped;
  }
  Output run(const std::vector<std::string>& command) { return run_tool(command, Deadline::in(seconds(170))); }
  void kill_agent_in_mid_run(const std::string& text, long lines, const std::string& process);
  bool runs(const std::string& process) const;
  // samples.csv of the only run in the results directory.
  std::string samples() const {
    for (const auto& entry : fs::directory_iterator(dir_.path() / "results")) return read_file(entry.path() / "samples.csv");
    return "";
  }

  const Paths paths_ = Paths::from_environment();
  TempDir dir_{"/var/tmp"};
  test::Census before_;
};

TEST_F(BadInput, MalformedYamlIsNamedWithItsLine) {
  const Output output = run(bench("name: x\nworkloads: [unclosed\n"));
  EXPECT_EQ(output.exit.code, 2);
  EXPECT_THAT(output.err, HasSubstr("suite.yaml:3: not YAML"));  // where the end of the file says that the bracket stayed open
  EXPECT_EQ(output.out, "");
}

TEST_F(BadInput, AnUnknownKeyIsAnsweredWithTheNearestOne) {
  const Output output = run(bench(suite("[metal]", "[probe, noop]", "    enviroment: {A: b}\n")));
  EXPECT_EQ(output.exit.code, 2);
  EXPECT_THAT(output.err, AllOf(HasSubstr("suite.yaml:9"), HasSubstr("'enviroment'"), HasSubstr("did you mean 'environment'?")));
}

TEST_F(BadInput, ASizeThatIsNoneIsQuoted) {
  std::string text = suite("[metal]", "[probe, noop]");
  text.replace(text.find("128MiB"), 6, "1XB");
  const Output output = run(bench(text));
  EXPECT_EQ(output.exit.code, 2);
  EXPECT_THAT(output.err, AllOf(HasSubstr("suite.yaml:8"), HasSubstr("1XB")));
}

TEST_F(BadInput, CheckFindsTheSameWithoutRunningAnything) {
  const Output output = run({kTare, "check", write("nome: x\n").string()});
  EXPECT_EQ(output.exit.code, 2);
  EXPECT_THAT(output.err, AllOf(HasSubstr("suite.yaml:1"), HasSubstr("'nome'")));
  EXPECT_EQ(run({kTare, "check", write(suite("[metal]", "[probe, noop]")).string()}).exit.code, 0);
}

TEST_F(BadInput, AMissingSuiteIsNamed) {
  const Output output = run({kTare, "bench", "/no/such/suite.yaml"});
  EXPECT_EQ(output.exit.code, 2);
  EXPECT_THAT(output.err, HasSubstr("/no/such/suite.yaml"));
}

TEST_F(BadInput, AMissingImageIsNamedWithTheOnesThatExist) {
  std::string text = suite("[metal, container]", "[probe, noop]");
  text.replace(text.find("tare/probe"), 10, "no/such-image");
  const Output output = run(bench(text));
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr("no/such-image"), HasSubstr("tare/probe")));
}

TEST_F(BadInput, ACommandThatDoesNotExistIsNamed) {
  const Output output = run(bench(suite("[metal, container]", "[no-such-command]")));
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr("no-such-command"), HasSubstr("tare/probe")));
  EXPECT_THAT(samples(), HasSubstr("failed:not_found"));  // a failed trial is a result
}

TEST_F(BadInput, APortInUseIsNamed) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  socklen_t size = sizeof address;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const std::string port = std::to_string(ntohs(address.sin_port));
  std::string text = suite("[metal]", "[probe, serve, --port=" + port + "]", "    ports: [" + port + "]\n");
  text.replace(text.find("ready: exit"), 11, "ready: {tcp: " + port + "}");
  const Output output = run(bench(text));
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr(port), HasSubstr("in use")));
}

TEST_F(BadInput, TooLittleMemoryForAGuestNamesTheLeast) {
  std::string text = suite("[vm]", "[probe, noop]");
  text.replace(text.find("128MiB"), 6, "4MiB");
  const Output output = run(bench(text));
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err,
              AllOf(HasSubstr("memory limit 4.00 MiB is too small for a guest, which needs 96.0 MiB"), HasSubstr("96.0 MiB or more")));
}

TEST_F(BadInput, WithoutRootItSaysSo) {
  std::vector<std::string> command = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  const auto tare = bench(suite("[metal]", "[probe, noop]"));
  command.insert(command.end(), tare.begin(), tare.end());
  fs::permissions(dir_.path(), fs::perms::all);
  fs::create_directories(paths_.run);  // as root's own runs leave it
  const Output output = run(command);
  EXPECT_EQ(output.exit.code, 3);
  EXPECT_THAT(output.err, AllOf(HasSubstr("make directory " + paths_.run.string() + "/private-"), HasSubstr("hint: run as root")));
}

// The host lacks one thing for VMs: the other backends are measured, the VM's number is missing with its reason, and the code is 3.
void expect_vm_missing(const Output& output, const std::string& samples, const std::string& reason, const std::string& remedy) {
  EXPECT_EQ(output.exit.code, 3) << output.err;
  EXPECT_THAT(output.err, AllOf(HasSubstr(reason), HasSubstr(remedy)));
  EXPECT_THAT(samples, HasSubstr(",metal,"));
  EXPECT_THAT(samples, testing::Not(HasSubstr(",vm,")));
}

TEST_F(BadInput, WithoutQemuTheRestIsMeasuredAndTheReasonGiven) {
  const std::string top = (dir_.path() / "top").string();
  const std::string hide = "set -e; mkdir " + top + "; mount -t tmpfs none " + top + "; mkdir " + top + "/upper " + top +
                           "/work; mount -t overlay -o lowerdir=/usr/bin,upperdir=" + top + "/upper,workdir=" + top +
                           "/work none /usr/bin; rm /usr/bin/qemu-system-x86_64";
  const Output output = run(after(hide, bench(suite("[metal, vm]", "[probe, noop]"))));
  expect_vm_missing(output, samples(), "no QEMU at /usr/bin/qemu-system-x86_64", "apt-get install qemu-system-x86");
}

TEST_F(BadInput, WithoutLibvirtsDriverTheRestIsMeasuredAndTheReasonGiven) {
  const std::string drivers = "/usr/lib/x86_64-linux-gnu/libvirt";
  const Output output = run(after("mount -t tmpfs none " + drivers, bench(suite("[metal, vm]", "[probe, noop]"))));
  expect_vm_missing(output, samples(), "connection to the embedded QEMU driver: libvirt: ", "apt-get install libvirt-daemon");
}

TEST_F(BadInput, WithoutAGuestKernelTheRestIsMeasuredAndTheReasonGiven) {
  const std::string kernels = paths_.kernels().string();
  const Output output =
      run(after("mount -t tmpfs none " + kernels + "; mount -t tmpfs none /boot", bench(suite("[metal, vm]", "[probe, noop]"))));
  expect_vm_missing(output, samples(), "guest kernel: none in " + kernels + " and none in /boot", "guest/fetch-kernel.sh " + kernels);
}

TEST_F(BadInput, AFullDiskInResultsIsToldBeforeTheRun) {
  fs::create_directories(dir_.path() / "results");
  const std::string results = (dir_.path() / "results").string();
  const Output output = run(after("mount -t tmpfs -o size=4k none " + results + "; head -c 4096 /dev/zero > " + results + "/filler",
                                  bench(suite("[metal]", "[probe, noop]"))));
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr(results), AnyOf(HasSubstr("No space left"), HasSubstr("full"))));
}

TEST_F(BadInput, ADiskThatFillsInMidRunLosesNothingThatWasMeasured) {
  fs::create_directories(dir_.path() / "results");
  const std::string results = (dir_.path() / "results").string();
  std::string text = suite("[metal]", "[probe, noop]");
  text.replace(text.find("trials: 1"), 9, "trials: 120");
  const Output output = run(after("mount -t tmpfs -o size=128k none " + results, bench(text)));
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr(results), HasSubstr("tare show")));
  const std::string shown = "tare show ";
  const std::size_t at = output.err.find(shown);
  ASSERT_NE(at, std::string::npos);
  const std::string run_id = output.err.substr(at + shown.size(), output.err.find_first_of(" `'\n", at + shown.size()) - at - shown.size());
  const Output csv = run({kTare, "show", run_id, "--csv"});
  EXPECT_EQ(csv.exit.code, 0) << csv.err;
  std::size_t executed = 0;
  for (std::size_t p = 0; (p = csv.out.find("mark.executed", p)) != std::string::npos; ++p) ++executed;
  EXPECT_EQ(executed, 120U);
}

// Whether a process whose program ends in `process` runs now, among those that are tare's.
bool BadInput::runs(const std::string& process) const {
  const auto now = census(paths_).processes;
  return std::any_of(now.begin(), now.end(), [&](const std::string& one) { return one.ends_with(process); });
}

// Kills the private agent, which is the client's child, once `lines` of samples are on disk and `process` runs in a control group
// of tare, and waits for the client.
void BadInput::kill_agent_in_mid_run(const std::string& text, long lines, const std::string& process) {
  const Fd log = open_file(dir_.path() / "log", O_RDWR | O_CREAT);
  Child::Options options;
  options.argv = bench(text);
  options.stderr_fd = log.get();
  Child client = Child::spawn(options);
  const Deadline deadline = Deadline::in(seconds(100));
  std::string measured;
  while (std::count(measured.begin(), measured.end(), '\n') < lines && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    try {
      measured = samples();
    } catch (const std::exception&) {  // not there yet
    }
  }
  // Within a trial, not between two: what is to be left behind is there at the kill.
  bool within = false;
  while (!(within = runs(process)) && !deadline.passed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(within) << process;
  const std::string pid = std::to_string(client.pid());
  const std::string children = read_file("/proc/" + pid + "/task/" + pid + "/children");
  ASSERT_NE(children, "") << read_file(dir_.path() / "log");
  ASSERT_EQ(::kill(std::stoi(children), SIGKILL), 0);
  const auto exit = client.wait(Deadline::in(seconds(60)));
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 1);
  EXPECT_THAT(read_file(dir_.path() / "log"), HasSubstr("the agent ended in mid-run"));
  EXPECT_THAT(samples(), HasSubstr(measured));
}

TEST_F(BadInput, AnAgentKilledInMidRunLosesNothingAndLeavesNothing) {
  std::string text = suite("[metal, container]", "[probe, idle]");
  text.replace(text.find("ready: exit"), 11, "ready: executed");
  text.replace(text.find("trials: 1"), 9, "trials: 2000");
  kill_agent_in_mid_run(text, 50, "probe");
}

TEST_F(BadInput, AnAgentKilledWhileAVmRunsLeavesNoVm) {
  std::string text = suite("[vm]", "[probe, serve, --port=18999]", "    ports: [18999]\n");
  text.replace(text.find("ready: exit"), 11, "ready: {http: {port: 18999, path: /}}");
  text.replace(text.find("trials: 1"), 9, "trials: 2000");
  kill_agent_in_mid_run(text, 10, "/qemu-system-x86_64");
}

TEST_F(BadInput, AnInterruptStopsCleanlyAndKeepsWhatIsThere) {
  std::string text = suite("[metal, container]", "[probe, noop]");
  text.replace(text.find("trials: 1"), 9, "trials: 2000");
  Child::Options options;
  options.argv = bench(text);
  Child client = Child::spawn(options);
  std::this_thread::sleep_for(seconds(4));
  client.signal(SIGINT);
  const auto exit = client.wait(Deadline::in(seconds(60)));
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 130);
  EXPECT_THAT(samples(), HasSubstr("mark.executed"));
  for (const auto& entry : fs::directory_iterator(dir_.path() / "results")) EXPECT_TRUE(fs::exists(entry.path() / "result.json"));
}

TEST_F(BadInput, AWrongVerbOrOptionIsAUsageError) {
  const Output verb = run({kTare, "bnech"});
  EXPECT_EQ(verb.exit.code, 2);
  EXPECT_THAT(verb.err, HasSubstr("bench"));
  EXPECT_EQ(run({kTare, "bench"}).exit.code, 2);
  EXPECT_EQ(run({kTare, "runs", "--jason"}).exit.code, 2);
}

TEST_F(BadInput, ARunThatDoesNotExistIsNamed) {
  const Output output = run({kTare, "show", "no-such-run"});
  EXPECT_EQ(output.exit.code, 2);
  EXPECT_THAT(output.err, HasSubstr("no-such-run"));
}

}  // namespace
}  // namespace tare
