// SPDX-License-Identifier: Apache-2.0
// `tare run`, `attach` and `exec` with stdin and terminals: on a real terminal,
// through pipes, and as another program would speak to the API.
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "agent/frames.h"
#include "tests/integration/instances_fixture.h"
#include "tests/integration/person.h"

namespace tare::test {
namespace {

using agent::FrameKind;
using agent::FrameParser;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class InstanceStreams : public InstancesTest {
 protected:
  std::vector<std::string> on_terminal(std::vector<std::string> options, const std::string& script) const {
    options.insert(options.begin(), "-it");
    return run(std::move(options), script);
  }
  /// `sh -c SCRIPT` with $TARE and $IMAGE.
  Output shell(const std::string& script) const {
    return run_tool({"env", "TARE_STATE_DIR=" + paths_.state.string(), "TARE_RUN_DIR=" + paths_.run.string(),
                     "TARE=" TARE_BINARY_DIR "/bin/tare", "IMAGE=" + image_.reference(), "sh", "-c", script},
                    Deadline::in(100s));
  }
  std::string ten_megabytes() const {
    const auto file = dir_.path() / "random";
    shell("head -c 10000000 /dev/urandom > " + file.string());
    return file.string();
  }
};

// A terminal
// -----------------------------------------------------------------------------------------------------------------------

TEST_F(InstanceStreams, ATerminalIsTheWorkloadsAndOursIsGivenBack) {
  for (const char* backend : {"container", "metal"}) {
    Person person(on_terminal({"--backend", backend}, "tty; stty size; read x; echo got $x; exit 5"), paths_);
    ASSERT_TRUE(person.sees("24 80")) << person.seen();
    EXPECT_THAT(person.seen(), HasSubstr("/dev/pts/"));
    person.type("word\r");
    ASSERT_TRUE(person.sees("got word\r\n")) << person.seen();
    EXPECT_EQ(person.ends(), 5);
  }
}

TEST_F(InstanceStreams, TheSizeFollowsOursAndControlCIsTheWorkloads) {
  Person person(on_terminal({},
                            "trap 'stty size' WINCH; trap 'echo caught; exit 3' INT; "
                            "echo up; while :; do sleep 0.02; done"),
                paths_);
  ASSERT_TRUE(person.sees("up\r\n")) << person.seen();
  person.resize(33, 99);
  ASSERT_TRUE(person.sees("33 99")) << person.seen();
  person.type("\x03");
  ASSERT_TRUE(person.sees("caught"));
  EXPECT_EQ(person.ends(), 3);
}

TEST_F(InstanceStreams, TheTerminalIsGivenBackWhenWeAreEnded) {
  Person person(on_terminal({}, "trap '' TERM; echo up; while :; do sleep 0.02; done"), paths_);
  ASSERT_TRUE(person.sees("up"));
  for (int i = 0; i < 3; ++i) {
    ::kill(person.pid(), SIGTERM);
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_EQ(person.ends(), 143);
  Person refused({"run", "-it", image_.reference(), "no-such-program"}, paths_);
  EXPECT_NE(refused.ends(), 0);
  EXPECT_THAT(refused.seen(), HasSubstr("no-such-program"));
  EXPECT_TRUE(eventually([&] { return tare({"ps", "-a"}).out.find("running") == std::string::npos; }));
}

TEST_F(InstanceStreams, OneThatIsLeftOutlivesTheAgentAndIsComeBackTo) {
  const Census before = left();
  Person first(on_terminal({"--name", "tt"},
                           "n=0; while read l; do n=$((n+1)); echo "
                           "\"line $n: $l\"; done; exit 6"),
               paths_);
  first.type("one\r");
  ASSERT_TRUE(first.sees("line 1: one\r\n")) << first.seen();
  first.type("\x10\x11");
  EXPECT_EQ(first.ends(), 0);
  EXPECT_THAT(first.seen(), HasSubstr("tare attach"));
  EXPECT_THAT(tare({"ps"}).out, AllOf(HasSubstr("tt"), HasSubstr("running")));

  kill_agent();
  start_agent();
  {
    Person second({"attach", "tt"}, paths_);
    second.type("two\r");
    ASSERT_TRUE(second.sees("line 2: two\r\n")) << second.seen();
    EXPECT_THAT(second.seen(), Not(HasSubstr("line 1")));
  }  // it dies, the instance goes on
  Person third({"attach", "tt"}, paths_);
  third.type("three\r");
  ASSERT_TRUE(third.sees("line 3: three\r\n"));
  third.resize(40, 100);
  third.type("\x04");
  EXPECT_EQ(third.ends(), 6);
  const std::string log = tare({"logs", "tt"}).out;
  for (const char* line : {"line 1: one\r\n", "line 2: two\r\n", "line 3: three\r\n"}) EXPECT_THAT(log, HasSubstr(line));
  EXPECT_EQ(tare({"rm", "tt"}).status, 0);
  EXPECT_EQ(left(), before);
}

TEST_F(InstanceStreams, OneThatIsNotLeftEndsWithItsAgentAlthoughItCouldBe) {
  const Census before = left();
  Person person(on_terminal({"--name", "tt"}, "echo up; sleep 1000"), paths_);
  ASSERT_TRUE(person.sees("up"));
  kill_agent();
  start_agent();
  EXPECT_TRUE(eventually([&] { return left() == before; }));
  EXPECT_THAT(tare({"ps", "-a"}).out, Not(HasSubstr("tt")));
}

TEST_F(InstanceStreams, AShellInAnInstanceHasATerminal) {
  ASSERT_EQ(tare(run({"-d", "--name", "web"}, "sleep 1000")).status, 0);
  Person person({"exec", "-it", "-e", "PS1=> ", "web", "sh"}, paths_);
  ASSERT_TRUE(person.sees("> "));
  person.type("stty size\r");
  ASSERT_TRUE(person.sees("24 80\r\n")) << person.seen();
  person.resize(12, 34);
  person.type("sleep 0.1; stty size; tty\r");
  ASSERT_TRUE(person.sees("12 34\r\n")) << person.seen();
  ASSERT_TRUE(person.sees("/dev/pts/0\r\n"));
  person.type("sh -c 'echo beg\"\"an; exec sleep 1000'\r");
  ASSERT_TRUE(person.sees("began\r\n"));  // from then on the terminal is its own, control-C too
  person.type("\x03");
  person.type("exit 9\r");
  EXPECT_EQ(person.ends(), 9);
}

TEST_F(InstanceStreams, WithoutATerminalOfOursItIsRefused) {
  const Ended ended = tare({"run", "-it", image_.reference(), "true"});
  EXPECT_EQ(ended.status, 2);
  EXPECT_THAT(ended.err, HasSubstr("stdin is no terminal"));
  EXPECT_EQ(tare({"run", "-t", image_.reference(), "sh", "-c", "test -t 1 && echo yes"}).out,
            "yes\r\n");  // but -t alone needs none
}

// Pipes
// ----------------------------------------------------------------------------------------------------------------------------

TEST_F(InstanceStreams, TenMegabytesGoThroughByteForByte) {
  const std::string file = ten_megabytes();
  for (const char* backend : {"container", "metal"}) {
    const Output run =
        shell("$TARE run --backend " + std::string(backend) + " -i $IMAGE cat < " + file + " | cmp - " + file + " && echo same");
    EXPECT_EQ(run.out, "same\n") << run.err;
  }
  ASSERT_EQ(tare(this->run({"-d", "--name", "web"}, "sleep 1000")).status, 0);
  const Output exec = shell("cat " + file + " | $TARE exec -i web cat | cmp - " + file + " && echo same");
  EXPECT_EQ(exec.out, "same\n") << exec.err;
}

TEST_F(InstanceStreams, TheEndOfStdinIsTheWorkloads) {
  EXPECT_EQ(shell("printf 'a\\nb' | $TARE run -i $IMAGE sh -c 'cat; echo; echo "
                  "end; exit 4'; echo $?")
                .out,
            "a\nb\nend\n4\n");
  EXPECT_EQ(shell("echo x | $TARE run $IMAGE cat").out,
            "");  // without -i it reads nothing of ours
  EXPECT_EQ(shell("yes | $TARE run -i $IMAGE head -n 2").out,
            "y\ny\n");  // a workload that reads no further ends all the same
}

TEST_F(InstanceStreams, AWorkloadThatDoesNotReadIsEndedWithItsClient) {
  const Census before = left();
  Child client = spawn(run({"-i", "--name", "deaf"}, "sleep 1000"), -1, -1, open_file("/dev/zero", O_RDONLY).get());
  ASSERT_TRUE(eventually([&] { return tare({"ps"}).out.find("deaf") != std::string::npos; }));
  std::this_thread::sleep_for(300ms);  // all buffers are full by now
  EXPECT_EQ(tare(run({}, "echo others go on")).out, "others go on\n");
  client.signal(SIGKILL);
  EXPECT_TRUE(client.wait(Deadline::in(5s)));
  EXPECT_TRUE(eventually([&] { return left() == before; }));
}

TEST_F(InstanceStreams, ExecStreamsWhileItRunsAndEndsWithItsClient) {
  ASSERT_EQ(tare(run({"-d", "--name", "web"}, "sleep 1000; true")).status, 0);
  Running running =
      begin({"exec", "-u", "1:2", "-w", "/tmp", "-e", "A=b c", "web", "sh", "-c", "id -u; id -g; pwd; echo $A; sleep 1234; true"});
  ASSERT_TRUE(eventually([&] { return read_file(running.out) == "1\n2\n/tmp\nb c\n"; }))
      << read_file(running.out) << read_file(running.err);
  EXPECT_THAT(tare({"exec", "web", "ps"}).out, HasSubstr("A; sleep 1234"));
  running.child.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return tare({"exec", "web", "ps"}).out.find("A; sleep 1234") == std::string::npos; }));
  Running signaled = begin({"exec", "web", "sh", "-c",
                            "trap 'echo caught; exit 7' TERM; echo up; while "
                            ":; do sleep 0.02; done"});
  ASSERT_TRUE(eventually([&] { return read_file(signaled.out) == "up\n"; }));
  signaled.child.signal(SIGTERM);
  EXPECT_EQ(signaled.wait().status, 7);
}

TEST_F(InstanceStreams, ADetachedOneIsFedByWhoAttaches) {
  ASSERT_EQ(tare(run({"-d", "-i", "--name", "web"}, "echo before; while read l; do echo \"got $l\"; done; exit 8")).status, 0);
  ASSERT_TRUE(eventually([&] { return tare({"logs", "web"}).out == "before\n"; }));
  Running looking_on = begin({"attach", "--no-stdin", "web"});
  std::this_thread::sleep_for(100ms);
  const Output fed = shell("echo one | $TARE attach web; echo $?");
  EXPECT_EQ(fed.out, "got one\n8\n") << fed.err;
  const Ended looked = looking_on.wait();
  EXPECT_EQ(looked.out, "got one\n");
  EXPECT_EQ(looked.status, 8);
}

// Options
// --------------------------------------------------------------------------------------------------------------------------

TEST_F(InstanceStreams, OptionsOfAProcessReachIt) {
  const auto data = dir_.path() / "data";
  std::filesystem::create_directory(data);
  write_all(open_file(data / "file", O_WRONLY | O_CREAT, 0644).get(), "content\n", "file");
  const Ended ended = tare(run({"--user", "5:6", "--umask", "027", "--ulimit", "nofile=100:200", "--tmpfs", "/t:size=1MiB", "-v",
                                data.string() + ":/d:ro", "--read-only", "--init", "-v", "vol:/v"},
                               "id -u; id -g; umask; ulimit -n; ulimit -Hn; cat /d/file; touch "
                               "/d/x 2>/dev/null || echo read-only; touch /x "
                               "2>/dev/null || echo read-only; touch /t/x && echo writable; "
                               "cat /proc/$PPID/comm; test -d /v && echo volume"));
  EXPECT_EQ(ended.out,
            "5\n6\n0027\n100\n200\ncontent\nread-only\nread-"
            "only\nwritable\ntare-init\nvolume\n")
      << ended.err;
  EXPECT_THAT(tare({"run", "--ulimit", "nofile", image_.reference(), "true"}).err, HasSubstr("'nofile' is no limit"));
}

// The log --------------------------------------------------------------------------------------------------------------------------

TEST_F(InstanceStreams, TheLogIsShownFromItsOldestFileOn) {
  client().request(
      "POST", "/tare/v1/instances",
      R"({"name": "web", "workload": {"image": ")" + image_.reference() +
          R"(", "command": ["sh", "-c", "seq 1 3000000; sleep 0.3; echo end >&2"], "log": {"max_size": "1MiB", "max_files": 100}}})");
  client().request("POST", "/tare/v1/instances/web/wait");
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(paths_.instances())) {
    files += entry.path().filename().string().starts_with("log.") ? 1U : 0U;
  }
  EXPECT_GT(files, 20U);
  EXPECT_EQ(shell("seq 1 3000000 > " + (dir_.path() / "all").string() + "; $TARE logs web 2>/dev/null | cmp - " +
                  (dir_.path() / "all").string() + " && echo same")
                .out,
            "same\n");
  EXPECT_EQ(shell("$TARE logs -f -n 2900000 web 2>&1 | sed -n '1p;$p' | tr '\\n' ' '").out, "100002 end ");
  EXPECT_EQ(shell("$TARE logs -n 2 web 2>&1").out, "3000000\nend\n");
  EXPECT_THAT(shell("$TARE logs -t web 2>/dev/null | head -n 1").out, testing::MatchesRegex("20..-..-..T.*Z 1\n"));
  EXPECT_EQ(shell("$TARE logs --since 1h web 2>/dev/null | head -n 1").out, "1\n");
}

// The API as Docker's clients speak it
// -----------------------------------------------------------------------------------------------

class DockerConnection {
 public:
  DockerConnection(const std::filesystem::path& socket, const std::string& target, const std::string& body) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket.string().copy(address.sun_path, sizeof address.sun_path - 1);
    fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    send("POST " + target +
         " HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: "
         "tcp\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body);
    while (text_.find("\r\n\r\n") == std::string::npos && read_some()) continue;
    const std::size_t end = text_.find("\r\n\r\n") + 4;
    head = text_.substr(0, end);
    text_.erase(0, end);
  }
  void send(const std::string& bytes) const { ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void end_input() const { ::shutdown(fd_.get(), SHUT_WR); }
  /// All that comes until the agent closes.
  std::string rest() {
    while (read_some()) continue;
    return text_;
  }
  std::string head;

 private:
  bool read_some() {
    char chunk[4096];
    const ssize_t count = ::recv(fd_.get(), chunk, sizeof chunk, 0);
    if (count > 0) text_.append(chunk, static_cast<std::size_t>(count));
    return count > 0;
  }
  Fd fd_;
  std::string text_;
};

TEST_F(InstanceStreams, InDockersFramingStdinIsBareAndItsEndIsNotTheClients) {
  ASSERT_EQ(tare(run({"-d", "--name", "web"}, "sleep 1000")).status, 0);
  DockerConnection piped(paths_.socket(), "/tare/v1/instances/web/exec?framing=docker",
                         R"({"command": ["sh", "-c", "cat; echo e >&2; sleep 0.1; echo end"], "stdin": true})");
  EXPECT_THAT(piped.head, AllOf(HasSubstr("101 UPGRADED"), HasSubstr("application/vnd.docker.multiplexed-stream")));
  piped.send("bare");
  piped.end_input();
  std::string out;
  std::string err;
  for (const FrameParser::Frame& frame : FrameParser().feed(piped.rest())) {
    ASSERT_TRUE(frame.kind == FrameKind::out || frame.kind == FrameKind::err);
    (frame.kind == FrameKind::out ? out : err) += frame.bytes;
  }
  EXPECT_EQ(out, "bareend\n");
  EXPECT_EQ(err, "e\n");
  DockerConnection terminal(paths_.socket(), "/tare/v1/instances/web/exec?framing=docker",
                            R"({"command": ["sh", "-c", "read x; echo got $x"], "stdin": true, "tty": true})");
  EXPECT_THAT(terminal.head, HasSubstr("application/vnd.docker.raw-stream"));
  terminal.send("typed\n");
  EXPECT_EQ(terminal.rest(), "typed\r\ngot typed\r\n");
}

}  // namespace
}  // namespace tare::test
