// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server: one thread, one epoll set, the same answer to every request.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "core/fd.h"
#include "image/probe/commands.h"

namespace probe {
namespace {

constexpr std::size_t kMaxRequest = 64U << 10;

struct Connection {
  tare::Fd fd;
  std::string in;     // not yet a whole request
  std::string out;    // not yet sent
  bool last = false;  // close when `out` is sent
};

/// Lower case, because header names have no case.
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return out;
}

class Server {
 public:
  Server(tare::Fd listener, tare::Fd stop, std::size_t bytes)
      : listener_(std::move(listener)), stop_(std::move(stop)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    body_ = bytes == 3 ? "ok\n" : std::string(bytes, 'x');
    const std::string length = "Content-Type: text/plain\r\nContent-Length: " + std::to_string(bytes) + "\r\n";
    keep_ = "HTTP/1.1 200 OK\r\n" + length + "\r\n";
    close_ = "HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + "\r\n";
    watch(listener_.get(), EPOLLIN, EPOLL_CTL_ADD);
    watch(stop_.get(), EPOLLIN, EPOLL_CTL_ADD);
  }

  int run() {
    std::array<epoll_event, 64> events{};
    while (true) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) return 1;
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == stop_.get()) return 0;
        if (fd == listener_.get()) {
          accept_all();
        } else if (const auto it = connections_.find(fd); it != connections_.end() && !serve(it->second)) {
          connections_.erase(it);  // closing takes it out of the epoll set
        }
      }
    }
  }

 private:
  void watch(int fd, std::uint32_t what, int how) {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    ::epoll_ctl(epoll_.get(), how, fd, &event);
  }

  void accept_all() {
    while (true) {
      tare::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno == ECONNABORTED || errno == EINTR) continue;  // it was closed before we came to it
        return;
      }
      const int one = 1;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const int number = fd.get();
      connections_[number] = Connection{std::move(fd), {}, {}, false};
      watch(number, EPOLLIN, EPOLL_CTL_ADD);
    }
  }

  /// False when the connection is over.
  bool serve(Connection& connection) {
    if (connection.out.empty() && !receive(connection)) return false;
    while (true) {
      if (!flush(connection)) return false;
      if (!connection.out.empty()) break;
      if (connection.last) return false;
      if (!answer_next(connection)) break;
    }
    watch(connection.fd.get(), connection.out.empty() ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
    return connection.in.size() <= kMaxRequest;
  }

  bool receive(Connection& connection) {
    std::array<char, 16384> buffer;
    const ssize_t size = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
    if (size == 0) return false;
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    connection.in.append(buffer.data(), static_cast<std::size_t>(size));
    return true;
  }

  bool flush(Connection& connection) {
    while (!connection.out.empty()) {
      const ssize_t size = ::send(connection.fd.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
      if (size < 0) return errno == EAGAIN || errno == EINTR;
      connection.out.erase(0, static_cast<std::size_t>(size));
    }
    return true;
  }

  /// Takes one whole request from `in` and puts its answer in `out`; false when there is none. Requests with a body are not understood:
  /// the connection ends after the answer.
  bool answer_next(Connection& connection) {
    const std::size_t end = connection.in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::string head = lower(std::string_view(connection.in).substr(0, end + 2));
    connection.in.erase(0, end + 4);
    const std::size_t line = head.find("\r\n");
    const bool old = head.substr(0, line).ends_with("http/1.0");
    connection.last = old || head.find("\r\nconnection: close\r\n") != std::string::npos ||
                      head.find("\r\ncontent-length:") != std::string::npos || head.find("\r\ntransfer-encoding:") != std::string::npos;
    connection.out = connection.last ? close_ : keep_;
    if (!head.starts_with("head ")) connection.out += body_;
    return true;
  }

  tare::Fd listener_;
  tare::Fd stop_;
  tare::Fd epoll_;
  std::string keep_, close_, body_;
  std::map<int, Connection> connections_;
};

template <class Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc() && end == text.data() + text.size();
}

tare::Fd listen_on(std::uint16_t port) {
  tare::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fd;
  const int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);  // a trial follows the last one at once
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  if (::listen(fd.get(), SOMAXCONN) != 0) return {};
  return fd;
}

tare::Fd stop_signals() {
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  sigprocmask(SIG_BLOCK, &stops, nullptr);
  return tare::Fd(::signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

int serve(const Arguments& arguments) {
  std::uint16_t port = 0;
  std::size_t bytes = 3;
  for (const std::string_view argument : arguments) {
    std::string_view value;
    const bool understood = (option(argument, "port", value) && parse(value, port)) ||
                            (option(argument, "bytes", value) && parse(value, bytes) && bytes <= (64U << 20));
    if (!understood) return wrong_use("serve does not understand '" + std::string(argument) + "'");
  }
  if (port == 0) return wrong_use("serve needs --port=N with a port from 1 to 65535");
  tare::Fd stop = stop_signals();
  tare::Fd listener = listen_on(port);
  if (!listener || !stop) {
    std::fprintf(stderr, "probe: serve: listen on port %u: %s\n", unsigned{port}, std::strerror(errno));  // NOLINT(concurrency-mt-unsafe)
    return 1;
  }
  std::printf("listening on port %u\n", unsigned{port});
  std::fflush(stdout);
  return Server(std::move(listener), std::move(stop), bytes).run();
}

}  // namespace probe
