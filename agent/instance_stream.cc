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
#include "agent/stream_parts.h"
#include "core/error.h"

namespace tare::agent {
namespace json = boost::json;
namespace {

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
  const std::shared_ptr<LiveInstance> live_;

 private:
  void ignore() {
    if (log_watcher_ != 0) live_->instance().log().unwatch(log_watcher_);
    if (end_watcher_ != 0) live_->unwatch(end_watcher_);
    log_watcher_ = end_watcher_ = 0;
  }
  std::uint64_t log_watcher_ = 0;
  std::uint64_t end_watcher_ = 0;
};

/// The age of a moment of unix time, as an Instant.
std::optional<Instant> instant_of(const std::optional<double>& unix_time) {
  if (!unix_time) return std::nullopt;
  const double age = static_cast<double>(std::time(nullptr)) - *unix_time;
  return Instant::now() + -std::chrono::nanoseconds(static_cast<std::int64_t>(age * 1e9));
}

class LogSource final : public InstanceSource {
 public:
  LogSource(std::shared_ptr<LiveInstance> live, const LogQuery& query)
      : InstanceSource(std::move(live)),
        query_(query),
        frames_(live_->instance().log(),
                {.timestamps = query.timestamps, .out = query.out, .err = query.err, .since = instant_of(query.since)}) {
    const Log& log = live_->instance().log();
    const std::uint64_t next = log.next_number();
    const std::uint64_t dropped = log.dropped();
    const std::uint64_t of_tail = query.tail ? next - std::min(next, *query.tail) : 0;
    const std::uint64_t of_time = query.since ? log.number_since(*instant_of(query.since)) : 0;
    frames_.cursor.line = std::max(of_tail, of_time);
    if (dropped == 0 || of_tail >= dropped || of_time > dropped) return;  // all that is wanted is in memory
    // Not while it may be removed: the files go with it.
    live_->while_present([&] {
      if (auto reader = live_->instance().kept_log(query.tail)) frames_.read_instead(std::move(reader));
    });
  }
  std::string head() override {
    return stream_head("200 OK", "application/vnd.docker.multiplexed-stream", "Cache-Control: no-store\r\nConnection: close\r\n");
  }
  std::string next() override {
    const bool over = live_->ending().has_value();  // before the reading: what is written until then is read now
    std::string out = frames_.next();
    ended_ = out.empty() && (!query_.follow || over);
    return out;
  }
  bool ended() const override { return ended_; }

 private:
  const LogQuery query_;
  LogFrames frames_;
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

}  // namespace

std::unique_ptr<Source> log_source(std::shared_ptr<LiveInstance> live, const LogQuery& query) {
  return std::make_unique<LogSource>(std::move(live), query);
}
std::unique_ptr<Source> wait_source(std::shared_ptr<LiveInstance> live) { return std::make_unique<WaitSource>(std::move(live)); }

}  // namespace tare::agent
