// SPDX-License-Identifier: Apache-2.0
#include "core/readiness.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/fd.h"
#include "tests/fakes/fake_exec.h"

namespace tare {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// A running instance on the loopback interface; only what readiness looks at.
class LocalInstance : public Instance {
 public:
  const std::string& id() const override { return id_; }
  State state() const override { return State::running; }
  std::string address() const override { return "127.0.0.1"; }
  Usage usage() const override { return {}; }
  const Log& log() const override { return log_; }
  std::map<std::string, std::string> protections() const override { return {}; }
  std::optional<Exit> wait(Deadline deadline) override {
    while (!ended) {
      if (deadline.passed()) return std::nullopt;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return exit;
  }
  void signal(int) override {}
  void pause() override {}
  void resume() override {}
  void update(const Limits&) override {}
  std::unique_ptr<Exec> start_exec(const ExecRequest&, Deadline) override {
    return std::make_unique<fakes::FakeExec>(ExecResult{Exit{--exec_failures_left >= 0 ? 1 : 0, false, false}, "", ""});
  }
  Exit stop(std::chrono::nanoseconds) override { return exit; }
  void remove() override {}

  Log log_;
  std::atomic<bool> ended = false;
  Exit exit;
  int exec_failures_left = 0;

 private:
  std::string id_ = "t0123456789ab";
};

// Accepts connections one after the other and answers each with `answer`, from `delay` after its start.
class Server {
 public:
  explicit Server(std::string answer, milliseconds delay = milliseconds(0)) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    socklen_t size = sizeof address;
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this, fd = std::move(fd), answer, delay](const std::stop_token& stop) {
      std::this_thread::sleep_for(delay);
      ::listen(fd.get(), 64);
      listening_at_ = Instant::now().nanoseconds;
      timeval patience{0, 50'000};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      while (!stop.stop_requested()) {
        const Fd peer(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer) continue;
        std::array<char, 1024> request;
        ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (::recv(peer.get(), request.data(), request.size(), 0) > 0) ::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      }
    });
  }
  std::uint16_t port() const { return port_; }
  Instant listening_at() const { return {listening_at_}; }

 private:
  std::uint16_t port_ = 0;
  std::atomic<std::int64_t> listening_at_ = 0;
  std::jthread thread_;
};

Ready http(std::uint16_t port) {
  Ready ready;
  ready.kind = Ready::Kind::http;
  ready.port = port;
  return ready;
}

TEST(AwaitReady, HttpIsReadyWithinMillisecondsOfTheServersFirstListen) {
  const Server server("HTTP/1.1 200 OK\r\n\r\n", milliseconds(60));
  LocalInstance instance;
  Timeline timeline;
  await_ready(instance, http(server.port()), timeline, Deadline::in(seconds(20)));
  EXPECT_GE(*timeline.at(Mark::ready), server.listening_at());
  EXPECT_EQ(timeline.at(Mark::ready), timeline.at(Mark::responded));
}

TEST(AwaitReady, AnErrorStatusIsNotReadyAndIsQuoted) {
  const Server server("HTTP/1.1 503 Service Unavailable\r\n\r\n");
  LocalInstance instance;
  Timeline timeline;
  try {
    await_ready(instance, http(server.port()), timeline, Deadline::in(milliseconds(200)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::timeout);
    EXPECT_THAT(error.sentence(), HasSubstr("HTTP status 503"));
  }
  EXPECT_FALSE(timeline.at(Mark::ready).has_value());
}

TEST(AwaitReady, AnAnswerThatIsNotHttpIsRefused) {
  const Server server("220 mail.example ESMTP ready, and a long greeting that is surely no status line of a web server\r\n");
  LocalInstance instance;
  Timeline timeline;
  EXPECT_THROW(await_ready(instance, http(server.port()), timeline, Deadline::in(milliseconds(200))), Error);
}

TEST(AwaitReady, TcpNeedsNoAnswer) {
  const Server server("");
  LocalInstance instance;
  Timeline timeline;
  Ready ready = http(server.port());
  ready.kind = Ready::Kind::tcp;
  await_ready(instance, ready, timeline, Deadline::in(seconds(20)));
  EXPECT_TRUE(timeline.at(Mark::ready).has_value());
  EXPECT_FALSE(timeline.at(Mark::responded).has_value());
}

TEST(AwaitReady, TellsThatTheWorkloadEndedAndItsLastWords) {
  LocalInstance instance;
  instance.log_.append(Stream::err, "bind: Address already in use\n", Instant::now());
  instance.exit = Exit{1, false, false};
  instance.ended = true;
  Timeline timeline;
  try {
    await_ready(instance, http(9), timeline, Deadline::in(seconds(20)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::failed);
    EXPECT_THAT(error.sentence(), HasSubstr("ended with exit code 1"));
    EXPECT_THAT(error.sentence(), HasSubstr("Address already in use"));
  }
}

TEST(AwaitReady, ALogLineCountsFromItsArrival) {
  LocalInstance instance;
  instance.log_.append(Stream::out, "starting\nserver listening on 80\n", Instant{42});
  Ready ready;
  ready.kind = Ready::Kind::log;
  ready.pattern = "listening";
  Timeline timeline;
  await_ready(instance, ready, timeline, Deadline::in(seconds(1)));
  EXPECT_EQ(timeline.at(Mark::ready), Instant{42});
}

TEST(AwaitReady, ExecIsRepeatedUntilItSucceeds) {
  LocalInstance instance;
  instance.exec_failures_left = 3;
  Ready ready;
  ready.kind = Ready::Kind::exec;
  ready.command = {"check"};
  Timeline timeline;
  await_ready(instance, ready, timeline, Deadline::in(seconds(20)));
  EXPECT_EQ(instance.exec_failures_left, -1);
}

TEST(AwaitReady, ExitIsReadyAtTheMomentOfTheExit) {
  LocalInstance instance;
  instance.ended = true;
  Ready ready;
  ready.kind = Ready::Kind::exit;
  Timeline timeline;
  timeline.mark(Mark::exited, Instant{77});
  await_ready(instance, ready, timeline, Deadline::in(seconds(1)));
  EXPECT_EQ(timeline.at(Mark::ready), Instant{77});
}

TEST(AwaitReady, ExitWithAnotherCodeIsAFailure) {
  LocalInstance instance;
  instance.ended = true;
  instance.exit = Exit{9, true, true};
  Ready ready;
  ready.kind = Ready::Kind::exit;
  Timeline timeline;
  try {
    await_ready(instance, ready, timeline, Deadline::in(seconds(1)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.sentence(), HasSubstr("out of memory"));
  }
}

TEST(PortInUse, SeesAListener) {
  const Server server("");
  EXPECT_TRUE(port_in_use(server.port()));
}

}  // namespace
}  // namespace tare
