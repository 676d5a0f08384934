// SPDX-License-Identifier: Apache-2.0
#include "agent/stream_parts.h"

#include <utility>

#include "agent/instance_json.h"

namespace tare::agent {

std::string stream_head(std::string_view status, std::string_view type, std::string_view more) {
  return "HTTP/1.1 " + std::string(status) + "\r\nServer: tare\r\nContent-Type: " + std::string(type) + "\r\n" + std::string(more) + "\r\n";
}

LogFrames::LogFrames(const Log& log, const Choice& choice) : log_(log), choice_(choice), epoch_(monotonic_epoch()) {}

std::vector<LogPiece> LogFrames::read() { return reader_ ? reader_->read() : log_.read(cursor); }

std::string LogFrames::next() {
  const auto framed = [&](FrameKind kind, const std::string& bytes) { return choice_.bare ? bytes : frame(kind, bytes); };
  std::string out;
  for (std::vector<LogPiece> pieces = read(); !pieces.empty(); pieces = out.empty() ? read() : std::vector<LogPiece>()) {
    for (const LogPiece& piece : pieces) {
      if (!(piece.stream == Stream::out ? choice_.out : choice_.err) || (choice_.since && piece.at < *choice_.since)) continue;
      const std::string stamp = choice_.timestamps && piece.begins ? utc_text(piece.at, epoch_) + " " : "";
      out += framed(piece.stream == Stream::out ? FrameKind::out : FrameKind::err, stamp + piece.bytes);
    }
  }
  if (cursor.lost > told_lost_) {
    const std::string notice = "tare: " + std::to_string(cursor.lost - told_lost_) + " lines of output are no longer kept\n";
    out = framed(FrameKind::notice, notice) + out;
    told_lost_ = cursor.lost;
  }
  return out;
}

void Feeder::add(std::string_view bytes) {
  if (input_ == nullptr || ended_) return;
  held_ += bytes;
  drained();
}

void Feeder::end() {
  ended_ = true;
  drained();
}

void Feeder::resize(TerminalSize size) const {
  if (input_ != nullptr) input_->resize(size);
}

bool Feeder::drained() {
  if (input_ == nullptr) return true;
  while (!held_.empty()) {
    const std::size_t taken = input_->write(held_);
    if (taken == 0) return false;
    held_.erase(0, taken);
  }
  if (std::exchange(ended_, false)) input_->close();
  return true;
}

}  // namespace tare::agent
