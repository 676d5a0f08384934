// SPDX-License-Identifier: Apache-2.0
#include "core/readiness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/fd.h"

namespace tare {
namespace {

using std::chrono::milliseconds;

constexpr auto kRetry = milliseconds(1);         // after a refused connection
constexpr auto kOverlap = milliseconds(10);      // a further try beside one that is pending: its first packet may be lost
constexpr std::size_t kMostTries = 32;           // open at a time; the oldest makes room
constexpr auto kLivenessGap = milliseconds(20);  // how often it is looked whether the workload has ended

sockaddr_in address_of(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    throw Error(Code::invalid, "the instance has no address on which port " + std::to_string(port) + " could be probed",
                "give the workload `ports` or `network: link`");
  }
  return address;
}

// One try: a connection, and for HTTP the request and the answer's status line.
class Try {
 public:
  Try(const sockaddr_in& address, const std::string& request) : request_(request) {
    fd_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_) throw_errno("make a socket for the readiness probe");
    const int result = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (result != 0 && errno != EINPROGRESS) fail(errno);
  }

  enum class Now { pending, succeeded, failed };
  pollfd wanted() const { return {fd_.get(), static_cast<short>(connected_ && request_left_.empty() ? POLLIN : POLLOUT), 0}; }
  Now now() const { return now_; }
  const std::string& answer() const { return answer_; }

  void advance() {
    if (now_ != Now::pending) return;
    if (!connected_) {
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) return fail(error);
      connected_ = true;
      request_left_ = request_;
      if (request_.empty()) now_ = Now::succeeded;
    }
    if (!request_left_.empty()) return send_request();
    if (now_ == Now::pending) read_status();
  }

 private:
  void fail(int error) {
    answer_ = std::strerror(error);  // NOLINT(concurrency-mt-unsafe): glibc's is per thread
    now_ = Now::failed;
  }
  void send_request() {
    const ssize_t n = ::send(fd_.get(), request_left_.data(), request_left_.size(), MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) fail(errno);
      return;
    }
    request_left_.erase(0, static_cast<std::size_t>(n));
  }
  void read_status() {
    std::array<char, 512> chunk;
    const ssize_t n = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return fail(errno);
    head_.append(chunk.data(), static_cast<std::size_t>(n));
    // "HTTP/1.1 200 OK": the status code is the second word of the first line.
    const std::size_t space = head_.find(' ');
    if (space == std::string::npos || head_.size() < space + 4) {
      if (n == 0 || head_.size() > 64) {
        answer_ = head_.empty() ? "connection closed without an answer" : "an answer that is not HTTP";
        now_ = Now::failed;
      }
      return;
    }
    int status = 0;
    std::from_chars(head_.data() + space + 1, head_.data() + space + 4, status);
    answer_ = "HTTP status " + std::to_string(status);
    now_ = status >= 200 && status < 400 ? Now::succeeded : Now::failed;
  }

  Fd fd_;
  std::string request_;
  std::string request_left_;
  std::string head_;
  std::string answer_;
  bool connected_ = false;
  Now now_ = Now::pending;
};

std::string last_line(const Instance& instance) {
  const auto lines = instance.log().lines();
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (!line->text.empty()) return "; its last output was '" + line->text.substr(0, 200) + "'";
  }
  return "; it printed nothing";
}

[[noreturn]] void throw_ended(const Instance& instance, const Ready& ready, const Exit& exit) {
  throw Error(Code::failed, "instance " + instance.id() + " ended with " + text_of(exit) + " before it was ready (" + text_of(ready) + ")" +
                                last_line(instance));
}

[[noreturn]] void throw_late(const Instance& instance, const Ready& ready, const std::string& answer) {
  throw Error(Code::timeout,
              "instance " + instance.id() + " was not ready in time (" + text_of(ready) + ")" +
                  (answer.empty() ? last_line(instance) : "; the last answer was: " + answer),
              "raise start_timeout, or mend what it waits for");
}

void throw_if_ended(Instance& instance, const Ready& ready) {
  if (const auto exit = instance.wait(Deadline(Instant{0}))) throw_ended(instance, ready, *exit);
}

void await_port(Instance& instance, const Ready& ready, Timeline& timeline, Deadline deadline) {
  const sockaddr_in address = address_of(instance.address(), ready.port);
  const bool http = ready.kind == Ready::Kind::http;
  const std::string request =
      http ? "GET " + ready.path + " HTTP/1.1\r\nHost: " + instance.address() + "\r\nConnection: close\r\n\r\n" : std::string();
  std::vector<Try> tries;
  std::string answer;
  Instant next_try = Instant::now();
  Instant next_look = next_try + kLivenessGap;
  for (;;) {
    const Instant now = Instant::now();
    if (now >= deadline.at()) throw_late(instance, ready, answer);
    if (now >= next_look) {
      throw_if_ended(instance, ready);
      next_look = now + kLivenessGap;
    }
    if (now >= next_try) {
      if (tries.size() == kMostTries) tries.erase(tries.begin());
      tries.emplace_back(address, request);
      next_try = now + kOverlap;
    }
    std::vector<pollfd> polls;
    for (const Try& t : tries) polls.push_back(t.wanted());
    const Deadline wake(std::min({next_try, next_look, deadline.at()}));
    const timespec wait{static_cast<time_t>(wake.left().count() / 1'000'000'000), static_cast<long>(wake.left().count() % 1'000'000'000)};
    ::ppoll(polls.data(), polls.size(), &wait, nullptr);
    for (std::size_t i = 0; i < tries.size(); ++i) {
      if (polls[i].revents != 0) tries[i].advance();
      if (tries[i].now() == Try::Now::succeeded) {
        const Instant at = Instant::now();
        timeline.mark(Mark::ready, at);
        if (http) timeline.mark(Mark::responded, at);
        return;
      }
      if (tries[i].now() == Try::Now::failed) {
        answer = tries[i].answer();
        next_try = std::min(next_try, Instant::now() + kRetry);
      }
    }
    std::erase_if(tries, [](const Try& t) { return t.now() == Try::Now::failed; });
  }
}

void await_log(Instance& instance, const Ready& ready, Timeline& timeline, Deadline deadline) {
  const Log& log = instance.log();
  std::uint64_t next = 0;
  for (;;) {
    const bool closed = log.closed();  // before the lines: the last of them may come with the end
    for (const LogLine& line : log.lines(next)) {
      next = line.number + 1;
      if (line.text.find(ready.pattern) == std::string::npos) continue;
      const Instant at = std::max(line.at, timeline.at(Mark::launched).value_or(line.at));  // a clone's template wrote it before
      timeline.mark(Mark::ready, at);
      timeline.mark(Mark::responded, at);
      return;
    }
    if (closed) {
      if (const auto exit = instance.wait(deadline)) throw_ended(instance, ready, *exit);
      throw_late(instance, ready, "");
    }
    if (!log.wait_for_line(next, deadline)) throw_late(instance, ready, "");
  }
}

void await_exec(Instance& instance, const Ready& ready, Timeline& timeline, Deadline deadline) {
  std::string answer;
  for (;;) {
    if (deadline.passed()) throw_late(instance, ready, answer);
    throw_if_ended(instance, ready);
    const ExecResult result = instance.exec(ready.command, deadline);
    if (result.exit.ok()) return timeline.mark(Mark::ready);
    answer = text_of(result.exit);
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(kOverlap, deadline.left()));
  }
}

void await_exit(Instance& instance, const Ready& ready, Timeline& timeline, Deadline deadline) {
  const auto exit = instance.wait(deadline);
  if (!exit) throw_late(instance, ready, "");
  if (!exit->ok()) throw_ended(instance, ready, *exit);
  // Ready by definition when it is gone: the same moment, on the same clock, for every backend.
  timeline.mark(Mark::ready, timeline.at(Mark::exited).value_or(Instant::now()));
}

}  // namespace

void await_ready(Instance& instance, const Ready& ready, Timeline& timeline, Deadline deadline) {
  switch (ready.kind) {
    case Ready::Kind::executed: return timeline.mark(Mark::ready, timeline.at(Mark::executed).value_or(Instant::now()));
    case Ready::Kind::exit: return await_exit(instance, ready, timeline, deadline);
    case Ready::Kind::log: return await_log(instance, ready, timeline, deadline);
    case Ready::Kind::tcp:
    case Ready::Kind::http: return await_port(instance, ready, timeline, deadline);
    case Ready::Kind::exec: return await_exec(instance, ready, timeline, deadline);
  }
}

std::string text_of(const Ready& ready) {
  switch (ready.kind) {
    case Ready::Kind::executed: return "executed";
    case Ready::Kind::exit: return "exit with code 0";
    case Ready::Kind::log: return "a line with '" + ready.pattern + "'";
    case Ready::Kind::tcp: return "tcp port " + std::to_string(ready.port);
    case Ready::Kind::http: return "http GET " + ready.path + " on port " + std::to_string(ready.port);
    case Ready::Kind::exec: return "exec of '" + (ready.command.empty() ? std::string() : ready.command.front()) + "'";
  }
  return {};
}

bool port_in_use(std::uint16_t port) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("make a socket");
  const int on = 1;  // a closed connection in TIME_WAIT is no listener
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  address.sin_port = htons(port);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == EADDRINUSE;
}

}  // namespace tare
