// SPDX-License-Identifier: Apache-2.0
// Tells the open event streams that there is something new. What is persistent is in the store; what only shows progress is kept here,
// the newest alone. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace tare::agent {

class EventHub {
 public:
  struct Progress {
    std::uint64_t number = 0;  // grows with each change
    std::string run;
    std::string json;
  };

  /// Called on the thread that publishes; it must not block, nor call this hub. When this returns, the callback before is not running and
  /// never will again, so what it refers to may end.
  void on_change(std::function<void()> callback);
  /// A persistent event was stored.
  void published();
  /// "trial 12 of 75 has begun": replaces what was there.
  void set_progress(const std::string& run, std::string json);
  Progress progress() const;

 private:
  mutable std::mutex mutex_;
  Progress progress_;
  std::mutex calling_;  // guards callback_, also while it is called
  std::function<void()> callback_;
};

/// One message of a text/event-stream: "id: 7\nevent: trial\ndata: …\n\n". No id when it is 0.
std::string sse_message(std::int64_t id, std::string_view event, std::string_view data);

/// Bytes of a text/event-stream, cut anywhere, into messages. Comments (heartbeats) are dropped.
class SseParser {
 public:
  struct Message {
    std::string id;
    std::string event;
    std::string data;
  };
  std::vector<Message> feed(std::string_view bytes);

 private:
  void line(std::string_view text, std::vector<Message>& out);
  std::string partial_;
  Message message_;
  bool has_data_ = false;
};

}  // namespace tare::agent
