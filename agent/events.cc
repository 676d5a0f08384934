// SPDX-License-Identifier: Apache-2.0
#include "agent/events.h"

namespace tare::agent {

void EventHub::on_change(std::function<void()> callback) {
  const std::scoped_lock lock(calling_);
  callback_ = std::move(callback);
}

void EventHub::published() {
  const std::scoped_lock lock(calling_);
  if (callback_) callback_();
}

void EventHub::set_progress(const std::string& run, std::string json) {
  {
    const std::scoped_lock lock(mutex_);
    progress_ = {progress_.number + 1, run, std::move(json)};
  }
  published();
}

EventHub::Progress EventHub::progress() const {
  const std::scoped_lock lock(mutex_);
  return progress_;
}

std::string sse_message(std::int64_t id, std::string_view event, std::string_view data) {
  std::string out;
  if (id != 0) out += "id: " + std::to_string(id) + "\n";
  out += "event: ";
  out += event;
  out += "\n";
  // A line break in the data would end the field, so each line is a field of its own.
  while (true) {
    const std::size_t end = data.find('\n');
    out += "data: ";
    out += data.substr(0, end);
    out += "\n";
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + 1);
  }
  return out + "\n";
}

std::vector<SseParser::Message> SseParser::feed(std::string_view bytes) {
  std::vector<Message> out;
  partial_ += bytes;
  std::size_t from = 0;
  for (std::size_t end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n', from)) {
    std::string_view text(partial_.data() + from, end - from);
    if (text.ends_with('\r')) text.remove_suffix(1);
    line(text, out);
    from = end + 1;
  }
  partial_.erase(0, from);
  return out;
}

void SseParser::line(std::string_view text, std::vector<Message>& out) {
  if (text.empty()) {
    if (has_data_) out.push_back(message_);
    message_ = {};
    has_data_ = false;
    return;
  }
  const std::size_t colon = text.find(':');
  const std::string_view field = text.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "id") message_.id = value;
  if (field == "event") message_.event = value;
  if (field == "data") {
    if (has_data_) message_.data += '\n';
    message_.data += value;
    has_data_ = true;
  }
}

}  // namespace tare::agent
