// SPDX-License-Identifier: Apache-2.0
#include "agent/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace {

using boost::system::error_code;

// The slowest answer is a first probe of the VM, whose self-test has deadlines of its own.
constexpr auto kAnswerWithin = std::chrono::minutes(5);

// A socket as a stream that Beast can read from, with a deadline: asio's own blocking calls have none.
class FdStream {
 public:
  FdStream(int fd, Deadline deadline) : fd_(fd), deadline_(deadline) {}

  template <class Buffers>
  std::size_t read_some(const Buffers& buffers, error_code& error) {
    const auto buffer = *asio::buffer_sequence_begin(buffers);
    return transfer(POLLIN, error, [&] { return ::recv(fd_, buffer.data(), buffer.size(), 0); });
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& buffers) {
    error_code error;
    const std::size_t n = read_some(buffers, error);
    if (error) throw boost::system::system_error(error);
    return n;
  }
  void write(std::string_view bytes, error_code& error) {
    while (!bytes.empty() && !error) {
      bytes.remove_prefix(transfer(POLLOUT, error, [&] { return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }));
    }
  }

 private:
  template <class Call>
  std::size_t transfer(short events, error_code& error, Call call) {
    while (true) {
      pollfd poll{fd_, events, 0};
      const int ready = ::poll(&poll, 1, deadline_.poll_timeout());
      if (ready == 0) {
        error = beast::error::timeout;
        return 0;
      }
      const ssize_t n = ready < 0 ? -1 : call();
      if (n > 0) return static_cast<std::size_t>(n);
      if (n < 0 && errno == EINTR) continue;
      error = n == 0 ? error_code(asio::error::eof) : error_code(errno, boost::system::system_category());
      return 0;
    }
  }
  int fd_;
  Deadline deadline_;
};

Reply exchange(int fd, const std::string& method, const std::string& target, const std::string& body,
               std::chrono::nanoseconds within = kAnswerWithin) {
  FdStream stream(fd, Deadline::in(within));
  http::request<http::string_body> request;
  request.method_string(method);
  request.target(target);
  request.version(11);
  request.set(http::field::host, "tare");
  request.body() = body;
  request.prepare_payload();
  http::response_parser<http::string_body> parser;
  parser.body_limit(std::uint64_t{1} << 30);  // the samples of a long run
  beast::flat_buffer buffer;
  error_code error;
  std::ostringstream text;
  text << request;
  stream.write(text.str(), error);
  if (!error) http::read(stream, buffer, parser, error);
  if (error == beast::error::timeout) {
    throw Error(Code::timeout, "the agent did not answer " + method + " " + target + " in time", "look into the agent's log");
  }
  if (error) throw Error(Code::unavailable, "the agent ended while it was asked for " + target, "look into the agent's log");
  return {static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
}

std::string accepted(Reply reply) {
  if (reply.status < 200 || reply.status > 299) throw error_from(reply.body, reply.status);
  return std::move(reply.body);
}

// Reads the head of an answer; what came after it is left in `rest`. Throws the Error of an answer that is neither 200 nor 101.
void read_head(int fd, std::string& rest) {
  FdStream stream(fd, Deadline::in(kAnswerWithin));
  std::array<char, 4096> chunk{};
  std::string text;
  const auto read_more = [&] {
    error_code error;
    const std::size_t n = stream.read_some(asio::buffer(chunk), error);
    if (error) throw AgentGone();
    text.append(chunk.data(), n);
  };
  while (text.find("\r\n\r\n") == std::string::npos) read_more();
  const std::size_t end = text.find("\r\n\r\n") + 4;
  const int status = std::atoi(text.c_str() + std::strlen("HTTP/1.1 "));
  if (status != 200 && status != 101) {
    constexpr std::string_view kLength = "Content-Length: ";
    const std::size_t length = text.find(kLength);
    const std::size_t size = length < end ? std::strtoul(text.c_str() + length + kLength.size(), nullptr, 10) : 0;
    while (text.size() < end + size) read_more();
    throw error_from(text.substr(end), status);
  }
  rest = text.substr(end);
}

}  // namespace

Fd Client::connect() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = socket_.string();
  if (path.size() >= sizeof address.sun_path)
    throw Error(Code::invalid, "the socket's path is too long: " + path, "set TARE_RUN_DIR to a shorter one");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("make a socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {  // NOLINT: the socket API's cast
    const int number = errno;
    throw Error(number == EACCES ? Code::unsuited : Code::unavailable, errno_text("no agent answers on " + path, number),
                number == EACCES ? "run as root, or as a member of the socket's group" : "start one with `tare agent`");
  }
  return fd;
}

bool Client::answers() const {
  try {
    // A dying agent's socket still takes connections for a moment, so only an answer counts.
    const Fd fd = connect();
    return exchange(fd.get(), "GET", "/healthz", "", std::chrono::seconds(10)).status == 200;
  } catch (const Error& e) {
    if (e.code() == Code::unavailable) return false;
    throw;
  }
}

std::string Client::get(const std::string& target) const { return request("GET", target); }

std::string Client::request(const std::string& method, const std::string& target, const std::string& body) const {
  const Fd fd = connect();
  return accepted(exchange(fd.get(), method, target, body));
}

Client::Held Client::request_and_hold(const std::string& method, const std::string& target, const std::string& body) const {
  Held held;
  held.connection = connect();
  held.body = accepted(exchange(held.connection.get(), method, target, body));
  return held;
}

Client::Opened Client::open(const std::string& method, const std::string& target, const std::string& body) const {
  Opened opened;
  opened.connection = connect();
  const std::string request =
      method + " " + target + " HTTP/1.1\r\nHost: tare\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  FdStream stream(opened.connection.get(), Deadline::in(kAnswerWithin));
  error_code error;
  stream.write(request, error);
  if (error) throw AgentGone();
  read_head(opened.connection.get(), opened.received);
  return opened;
}

void Client::events(const std::string& target, Interrupt& interrupt, const std::function<bool(const SseParser::Message&)>& on_message,
                    const std::function<void()>& on_interrupt) const {
  const Fd fd = connect();
  const std::string head = "GET " + target + " HTTP/1.1\r\nHost: tare\r\nAccept: text/event-stream\r\n\r\n";
  if (::send(fd.get(), head.data(), head.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(head.size())) throw AgentGone();
  std::string text;
  read_head(fd.get(), text);
  SseParser parser;
  std::array<char, 65536> chunk{};
  while (true) {
    for (const SseParser::Message& message : parser.feed(text)) {
      if (!on_message(message)) return;
    }
    std::array<pollfd, 2> polls = {pollfd{fd.get(), POLLIN, 0}, pollfd{interrupt.fd(), POLLIN, 0}};
    if (::poll(polls.data(), polls.size(), 60'000) == 0) throw AgentGone();  // not even a heartbeat
    if (interrupt.fd() >= 0 && polls[1].revents != 0 && interrupt.take()) on_interrupt();
    text.clear();
    if (polls[0].revents == 0) continue;
    const ssize_t n = ::recv(fd.get(), chunk.data(), chunk.size(), 0);
    if (n <= 0) throw AgentGone();
    text.assign(chunk.data(), static_cast<std::size_t>(n));
  }
}

std::string percent_encoded(const std::string& text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '-' ||
                       byte == '_' || byte == '.' || byte == ',';
    if (plain) {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

}  // namespace tare::agent
