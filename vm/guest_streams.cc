// SPDX-License-Identifier: Apache-2.0
#include "vm/guest_streams.h"

#include <algorithm>

#include "core/error.h"
#include "core/kept_log.h"

namespace tare::vm {
namespace {

constexpr Bytes kMostUnread = 1_MiB;                       // while a follower has more before it, the guest is not told to go on
constexpr std::size_t kLargestPiece = 32 * 1024;           // of one message
constexpr std::uint64_t kStep = guest::kOutputWindow / 4;  // not each piece is acknowledged

[[noreturn]] void refuse(const char* what) { throw Error(Code::failed, std::string("the guest sent ") + what); }

}  // namespace

GuestStreams::GuestStreams(bool has_input) : has_input_(has_input) {
  log_.on_read([this] { acknowledge(); });
}

void GuestStreams::begin(Channel& channel, std::uint16_t number) {
  const std::lock_guard lock(mutex_);
  channel_ = &channel;
  number_ = number;
}

void GuestStreams::begin(Channel& channel, std::uint16_t number, const Past& past) {
  const Instant now = Instant::now();
  for (const LogPiece& piece : past.output) store(piece.stream, piece.bytes, now, past.received);
  const std::lock_guard lock(mutex_);
  channel_ = &channel;
  number_ = number;
  received_ = past.received;
  told_ = past.told;
  sent_ = past.sent;
  taken_ = past.taken;
}

GuestStreams::Past GuestStreams::past() {
  Past past;
  LogCursor cursor;
  for (auto pieces = log_.read(cursor); !pieces.empty(); pieces = log_.read(cursor)) {
    past.output.insert(past.output.end(), pieces.begin(), pieces.end());
  }
  const std::lock_guard lock(mutex_);
  past.received = received_;
  past.told = told_;
  past.sent = sent_;
  past.taken = taken_;
  return past;
}

// `received`: how much of the output there is with these bytes.
void GuestStreams::store(Stream stream, std::string_view bytes, Instant at, std::uint64_t received) {
  const std::lock_guard lock(storing_);
  if (kept_) kept_->append(stream, bytes, at, received);
  log_.append(stream, bytes, at);
}

void GuestStreams::keep(std::unique_ptr<KeptOutput> kept) {
  const std::lock_guard lock(storing_);
  std::uint64_t received = 0;
  {
    const std::lock_guard counting(mutex_);
    received = received_;
  }
  LogCursor cursor;
  for (auto pieces = log_.read(cursor); !pieces.empty(); pieces = log_.read(cursor)) {
    for (const LogPiece& piece : pieces) kept->append(piece.stream, piece.bytes, piece.at, received);
  }
  kept_ = std::move(kept);
}

void GuestStreams::restore(std::unique_ptr<KeptOutput> kept) {
  received_ = told_ = kept->received();
  kept_ = std::move(kept);
}

std::unique_ptr<LogReader> GuestStreams::kept_log(std::optional<std::uint64_t> lines) const {
  const std::lock_guard lock(storing_);
  if (!kept_) return nullptr;
  const auto end = [this, kept = kept_.get()] {
    const bool closed = log_.closed();  // first: what came before is in the size
    return KeptLog::End{kept->size(), closed};
  };
  return std::make_unique<KeptLog>(kept_->log_path(), end, lines);
}

// With the lock held: pieces of two writers stay whole and in order, and end() waits for them.
template <class Message>
void GuestStreams::post(const Message& message) {
  try {
    if (channel_ != nullptr) channel_->post(message, number_);
  } catch (const Error&) {
    channel_ = nullptr;  // a guest that reads nothing at all any more
  }
}

void GuestStreams::output(const guest::Output& message, Instant arrived) {
  std::uint64_t received = 0;
  {
    const std::lock_guard lock(mutex_);
    received = received_ += message.text.size();
    if (received_ - told_ > guest::kOutputWindow + guest::kMostAtEnd) refuse("more output than its window holds");
  }
  store(message.stream == 2 ? Stream::err : Stream::out, message.text, arrived, received);
  acknowledge();
}

void GuestStreams::acknowledge() {
  const bool full = log_.unread().value_or(0_MiB) >= kMostUnread;
  const std::lock_guard lock(mutex_);
  if (full || received_ - told_ < kStep) return;
  told_ = received_;
  guest::OutputTaken message;
  message.position = told_;
  post(message);
}

void GuestStreams::input_taken(const guest::InputTaken& message) {
  {
    const std::lock_guard lock(mutex_);
    if (message.position > sent_ || message.position < taken_) refuse("the receipt of input that it never got");
    taken_ = message.position;
    reads_ = reads_ && message.open != 0;
  }
  tell_room();
}

void GuestStreams::attached(const guest::Attached& message, Instant arrived) {
  std::uint64_t had = 0;
  {
    const std::lock_guard lock(mutex_);
    had = received_;
  }
  if (message.output < had || message.input_taken > message.input) refuse("a position that it was not asked for");
  if (message.output > had) {
    store(Stream::err, "tare: " + std::to_string(message.output - had) + " bytes of output are lost with the agent that died\n", arrived,
          message.output);
  }
  const std::lock_guard lock(mutex_);
  received_ = told_ = message.output;
  sent_ = message.input;
  taken_ = message.input_taken;
  reads_ = message.input_open != 0;
}

void GuestStreams::end() {
  {
    const std::lock_guard lock(mutex_);
    channel_ = nullptr;
  }
  log_.close();
  tell_room();
}

std::size_t GuestStreams::write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (channel_ == nullptr || !reads_) return bytes.size();
  const std::uint64_t room = guest::kInputWindow - (sent_ - taken_);
  const std::string_view given = bytes.substr(0, std::min<std::uint64_t>(bytes.size(), room));
  for (std::size_t at = 0; at < given.size(); at += kLargestPiece) {
    guest::Input message;
    message.text = given.substr(at, kLargestPiece);
    sent_ += message.text.size();
    post(message);
  }
  return given.size();
}

void GuestStreams::close() {
  const std::lock_guard lock(mutex_);
  post(guest::InputEnd{});
}

void GuestStreams::resize(TerminalSize size) {
  guest::Resize message;
  message.rows = size.rows;
  message.columns = size.columns;
  const std::lock_guard lock(mutex_);
  post(message);
}

}  // namespace tare::vm
