// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/session.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "agent/cli/verbs.h"
#include "agent/wire.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent::cli {
namespace json = boost::json;
namespace {

constexpr std::size_t kMostOutgoing = 64 * 1024;  // so much waits for the agent, and we read no more of our stdin

std::string control(const json::value& value) { return frame(FrameKind::control, json::serialize(value)); }

}  // namespace

Interrupt AttachedSession::signals() { return Interrupt({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}); }

AttachedSession::AttachedSession(const Options& options, Interrupt& interrupt, std::function<void()> leave)
    : options_(options), interrupt_(interrupt), leave_(std::move(leave)), reads_(options.input) {
  if (options.input && options.tty) raw_.emplace(STDIN_FILENO);
}

std::string AttachedSession::run(Client::Opened stream) {
  const int connection = stream.connection.get();
  show(stream.received);
  while (control_.empty() && !over_) {
    const bool full = outgoing_.size() >= kMostOutgoing;
    std::array<pollfd, 3> polls = {pollfd{connection, static_cast<short>(outgoing_.empty() ? POLLIN : POLLIN | POLLOUT), 0},
                                   pollfd{interrupt_.fd(), POLLIN, 0}, pollfd{reads_ && !full ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) throw_errno("poll");
    if (polls[1].revents != 0) handle_signal();
    if (polls[2].revents != 0) read_input();
    if ((polls[0].revents & POLLOUT) != 0) send_some(connection);
    if ((polls[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive(connection);
  }
  if (raw_) raw_->restore();
  return control_;
}

void AttachedSession::show(std::string_view bytes) {
  for (const FrameParser::Frame& frame : parser_.feed(bytes)) {
    if (frame.kind == FrameKind::control) {
      control_ = frame.bytes;
    } else if (frame.kind == FrameKind::out) {
      write_all(STDOUT_FILENO, frame.bytes, "stdout");
    } else {
      write_all(STDERR_FILENO, frame.bytes, "stderr");
    }
  }
}

void AttachedSession::handle_signal() {
  const int number = interrupt_.take();
  if (number == 0) return;
  if (number == SIGWINCH) {
    const auto size = options_.tty ? terminal_size(STDOUT_FILENO) : std::nullopt;
    if (size) outgoing_ += control(json::object{{"rows", size->rows}, {"columns", size->columns}});
    return;
  }
  if (number == SIGHUP || --patience_ == 0) {  // our terminal is gone, or nobody listens
    if (raw_) raw_->restore();
    leave_();
    ::_exit(128 + number);
  }
  outgoing_ += control(json::object{{"signal", ::sigabbrev_np(number)}});
}

void AttachedSession::read_input() {
  std::array<char, 32768> chunk{};
  const ssize_t count = ::read(STDIN_FILENO, chunk.data(), chunk.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) {
    reads_ = false;
    outgoing_ += frame(FrameKind::in, "");
    return;
  }
  const std::string_view typed(chunk.data(), static_cast<std::size_t>(count));
  if (!raw_ || !options_.may_leave) {
    outgoing_ += frame(FrameKind::in, typed);
    return;
  }
  const std::string passed = keys_.pass(typed);
  if (!passed.empty()) outgoing_ += frame(FrameKind::in, passed);
  if (!keys_.pressed()) return;
  reads_ = false;
  outgoing_ += control(json::object{{"detach", true}});
}

void AttachedSession::send_some(int connection) {
  const ssize_t count = ::send(connection, outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count > 0) outgoing_.erase(0, static_cast<std::size_t>(count));
  if (count < 0 && errno != EAGAIN && errno != EINTR) outgoing_.clear();  // it is gone; its end is read soon
}

void AttachedSession::receive(int connection) {
  std::array<char, 65536> chunk{};
  const ssize_t count = ::recv(connection, chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) {
    over_ = true;
    return;
  }
  show({chunk.data(), static_cast<std::size_t>(count)});
}

int status_of(const std::string& control, const std::string& who) {
  if (control.empty()) throw Error(Code::failed, who + ": the agent ended before the workload did", "look into the agent's log");
  const auto document = parse_json(control);
  if (const std::string id = text_at(document, "detached"); !id.empty()) {
    note("\r\ntare: left " + id + " running; `tare attach " + id + "` comes back");
    return 0;
  }
  const auto* exit = document.is_object() ? document.as_object().if_contains("exit") : nullptr;
  if (exit == nullptr) throw error_from(control, 500);
  const std::string sentence = text_at(*exit, "sentence");
  if (!sentence.empty()) note("tare: " + who + " " + sentence);
  const auto* status = exit->as_object().if_contains("status");
  if (status == nullptr) throw Error(Code::failed, who + ": nobody can tell how it ended");
  return static_cast<int>(status->as_int64());
}

}  // namespace tare::agent::cli
