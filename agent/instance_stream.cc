// SPDX-License-Identifier: Apache-2.0
#include "agent/instance_stream.h"

#include <algorithm>
#include <boost/json.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <utility>

#include "agent/instance_json.h"
#include "agent/journal.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent {
namespace json = boost::json;
namespace {

std::string stream_head(std::string_view status, std::string_view type, std::string_view more) {
  return "HTTP/1.1 " + std::string(status) + "\r\nServer: tare\r\nContent-Type: " + std::string(type) + "\r\n" + std::string(more) + "\r\n";
}

/// A stream over one instance: watches its log and its end.
class InstanceSource : public Source {
 public:
  explicit InstanceSource(std::shared_ptr<LiveInstance> live) : live_(std::move(live)) {}
  ~InstanceSource() override { ignore(); }
  void on_change(std::function<void()> wake) override {
    ignore();
    if (!wake) return;
    log_watcher_ = live_->instance().log().watch(wake);
    end_watcher_ = live_->watch(std::move(wake));
  }
  void input(std::string_view) override {}
  void closed() override {}

 protected:
  /// All that the log has beyond the cursor and that `wanted` lets through, in frames.
  std::string new_frames(const LogQuery& query) {
    std::string out;
    for (const LogPiece& piece : live_->instance().log().read(cursor_)) {
      if (!(piece.stream == Stream::out ? query.out : query.err)) continue;
      const std::string stamp = query.timestamps && piece.begins ? utc_text(piece.at, epoch_) + " " : "";
      out += frame(piece.stream == Stream::out ? FrameKind::out : FrameKind::err, stamp + piece.bytes);
    }
    if (cursor_.lost > told_lost_) {
      out = frame(FrameKind::notice, "tare: " + std::to_string(cursor_.lost - told_lost_) + " lines of output are no longer kept\n") + out;
      told_lost_ = cursor_.lost;
    }
    return out;
  }

  const std::shared_ptr<LiveInstance> live_;
  LogCursor cursor_;
  std::uint64_t told_lost_ = 0;
  const std::int64_t epoch_ = monotonic_epoch();  // read once, so that lines of one moment have one time

 private:
  void ignore() {
    if (log_watcher_ != 0) live_->instance().log().unwatch(log_watcher_);
    if (end_watcher_ != 0) live_->unwatch(end_watcher_);
    log_watcher_ = end_watcher_ = 0;
  }
  std::uint64_t log_watcher_ = 0;
  std::uint64_t end_watcher_ = 0;
};

class LogSource final : public InstanceSource {
 public:
  LogSource(std::shared_ptr<LiveInstance> live, const LogQuery& query) : InstanceSource(std::move(live)), query_(query) {
    const Log& log = live_->instance().log();
    const std::uint64_t next = log.next_number();
    if (query.tail) cursor_.line = next - std::min(next, *query.tail);
    if (query.since) {
      const double age = static_cast<double>(std::time(nullptr)) - *query.since;
      const auto ago = std::chrono::nanoseconds(static_cast<std::int64_t>(age * 1e9));
      cursor_.line = std::max(cursor_.line, log.number_since(Instant::now() + -ago));
    }
  }
  std::string head() override {
    return stream_head("200 OK", "application/vnd.docker.multiplexed-stream", "Cache-Control: no-store\r\nConnection: close\r\n");
  }
  std::string next() override {
    const bool over = live_->ending().has_value();  // before the reading: what is written until then is read now
    std::string out = new_frames(query_);
    ended_ = out.empty() && (!query_.follow || over);
    return out;
  }
  bool ended() const override { return ended_; }

 private:
  const LogQuery query_;
  bool ended_ = false;
};

class AttachSource final : public InstanceSource {
 public:
  AttachSource(Instances& instances, std::shared_ptr<LiveInstance> live) : InstanceSource(std::move(live)), instances_(instances) {
    cursor_.follows = true;  // a slow client holds the workload up; it loses nothing
    live_->instance().log().follow();
  }
  std::string head() override {
    return stream_head("101 UPGRADED", "application/vnd.docker.multiplexed-stream",
                       "Connection: Upgrade\r\nUpgrade: tcp\r\nLocation: /tare/v1/instances/" + live_->id() + "\r\n");
  }
  std::string next() override {
    const bool over = live_->ending() && live_->removed();
    std::string out = new_frames({});
    if (!out.empty() || !over || ended_) return out;
    ended_ = true;
    return frame(FrameKind::control, json::serialize(json::object{{"exit", to_json(*live_->ending())}}));
  }
  bool ended() const override { return ended_; }
  void input(std::string_view bytes) override {
    try {
      for (const FrameParser::Frame& frame : parser_.feed(bytes)) obey(frame);
    } catch (const Error& e) {
      journal::warn("instance " + live_->id() + ": " + e.sentence());
    }
  }
  void closed() override {
    if (!live_->removed()) instances_.later([&instances = instances_, id = live_->id()] { end(instances, id); });
  }

 private:
  void obey(const FrameParser::Frame& frame) {
    if (frame.kind != FrameKind::control) return;
    const int number = signal_named(text_at(parse_json(frame.bytes), "signal"));
    instances_.later([live = live_, number] {
      try {
        live->instance().signal(number);
      } catch (const Error& e) {
        if (e.code() != Code::conflict) throw;  // it has ended in between
      }
    });
  }
  static void end(Instances& instances, const std::string& id) {
    try {
      instances.remove(id, true);
    } catch (const Error& e) {
      if (e.code() != Code::not_found) throw;  // it has ended by itself in between
    }
  }

  Instances& instances_;
  FrameParser parser_;
  bool ended_ = false;
};

class WaitSource final : public InstanceSource {
 public:
  using InstanceSource::InstanceSource;
  std::string head() override { return stream_head("200 OK", "application/json", "Transfer-Encoding: chunked\r\nConnection: close\r\n"); }
  std::string next() override {
    const auto ending = live_->ending();
    if (!ending || ended_) return "";
    ended_ = true;
    json::object out = to_json(*ending);
    out["StatusCode"] = ending->exit ? json::value(ending->exit->status()) : json::value(nullptr);
    const std::string body = json::serialize(out) + "\n";
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", body.size());
    return size + body + "\r\n0\r\n\r\n";
  }
  bool ended() const override { return ended_; }

 private:
  bool ended_ = false;
};

class ExecSource final : public Source {
 public:
  ExecSource(Instances& instances, std::shared_ptr<LiveInstance> live, std::vector<std::string> command) {
    instances.aside([shared = shared_, live = std::move(live), command = std::move(command)] {
      std::string text;
      try {
        const ExecResult result = live->instance().exec(command, Deadline::never());
        text = frames_of(FrameKind::out, result.out) + frames_of(FrameKind::err, result.err);
        text += frame(FrameKind::control, json::serialize(json::object{{"exit", to_json(Ending{result.exit, "", 0})}}));
      } catch (const Error& e) {
        text = frame(FrameKind::control, error_body(e));
      }
      const std::scoped_lock lock(shared->mutex);
      shared->text = std::move(text);
      if (shared->wake) shared->wake();
    });
  }
  std::string head() override {
    return stream_head("200 OK", "application/vnd.docker.multiplexed-stream", "Cache-Control: no-store\r\nConnection: close\r\n");
  }
  std::string next() override {
    const std::scoped_lock lock(shared_->mutex);
    ended_ = shared_->text.has_value();
    return shared_->text ? std::exchange(*shared_->text, {}) : "";
  }
  bool ended() const override { return ended_; }
  void on_change(std::function<void()> wake) override {
    const std::scoped_lock lock(shared_->mutex);
    shared_->wake = std::move(wake);
  }
  void input(std::string_view) override {}
  void closed() override {}

 private:
  struct Shared {
    std::mutex mutex;
    std::optional<std::string> text;  // all of it, once it has ended
    std::function<void()> wake;
  };
  static std::string frames_of(FrameKind kind, std::string_view bytes) {
    std::string out;
    for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 64 * 1024)))
      out += frame(kind, bytes.substr(0, 64 * 1024));
    return out;
  }
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Source> exec_source(Instances& instances, std::shared_ptr<LiveInstance> live, std::vector<std::string> command) {
  return std::make_unique<ExecSource>(instances, std::move(live), std::move(command));
}
std::unique_ptr<Source> log_source(std::shared_ptr<LiveInstance> live, const LogQuery& query) {
  return std::make_unique<LogSource>(std::move(live), query);
}
std::unique_ptr<Source> attach_source(Instances& instances, std::shared_ptr<LiveInstance> live) {
  return std::make_unique<AttachSource>(instances, std::move(live));
}
std::unique_ptr<Source> wait_source(std::shared_ptr<LiveInstance> live) { return std::make_unique<WaitSource>(std::move(live)); }

}  // namespace tare::agent
