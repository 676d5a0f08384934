// SPDX-License-Identifier: Apache-2.0
#include "agent/process_stream.h"

#include <boost/json.hpp>
#include <utility>

#include "agent/instance_json.h"
#include "agent/journal.h"
#include "agent/stream_parts.h"
#include "agent/wire.h"
#include "core/error.h"

namespace tare::agent {
namespace json = boost::json;
namespace {

/// Both directions over a log and an input; what they belong to is the derived class's.
class ProcessSource : public Source {
 public:
  ProcessSource(const Log& log, Input* input, bool tty, Framing framing)
      : log_(log),
        input_(input),
        framing_(framing),
        bare_(framing == Framing::docker && tty),
        frames_(log, {.bare = bare_}),
        feeder_(input) {}
  bool ended() const override { return ended_; }
  void on_change(std::function<void()> wake) override {
    ignore();
    wake_ = wake;
    if (!wake) return;
    log_watcher_ = log_.watch(wake);
    if (input_ != nullptr) input_watcher_ = input_->watch(wake);
  }
  void input(std::string_view bytes) override {
    if (framing_ == Framing::docker) return feeder_.add(bytes);
    try {
      for (const FrameParser::Frame& frame : parser_.feed(bytes)) obey(frame);
    } catch (const Error& e) {
      journal::warn("instance " + name() + ": " + e.sentence());
    }
  }
  bool takes_input() override { return feeder_.drained(); }
  bool input_ended() override {
    if (framing_ != Framing::docker) return false;
    feeder_.end();
    return true;
  }

 protected:
  /// For the destructor of whoever holds what log and input belong to.
  void ignore() {
    if (log_watcher_ != 0) log_.unwatch(log_watcher_);
    if (input_watcher_ != 0) input_->unwatch(input_watcher_);
    log_watcher_ = input_watcher_ = 0;
  }
  virtual const std::string& name() const = 0;
  virtual void signal(int number) = 0;
  virtual void order(const json::value&) {}

  std::string upgraded(const std::string& location) const {
    const std::string type = bare_ ? "application/vnd.docker.raw-stream" : "application/vnd.docker.multiplexed-stream";
    return stream_head("101 UPGRADED", type, "Connection: Upgrade\r\nUpgrade: tcp\r\nLocation: " + location + "\r\n");
  }
  /// The last words, which Docker's framing has no place for.
  std::string last(const json::value& control) {
    ended_ = true;
    return framing_ == Framing::docker ? "" : frame(FrameKind::control, json::serialize(control));
  }

  const Log& log_;
  Input* const input_;
  const Framing framing_;
  const bool bare_;
  LogFrames frames_;
  std::function<void()> wake_;

 private:
  void obey(const FrameParser::Frame& frame) {
    if (frame.kind == FrameKind::in) return frame.bytes.empty() ? feeder_.end() : feeder_.add(frame.bytes);
    if (frame.kind != FrameKind::control) return;
    const json::value value = parse_json(frame.bytes);
    if (const std::string number = text_at(value, "signal"); !number.empty()) return signal(signal_named(number));
    if (const json::object* object = value.if_object(); object != nullptr && object->contains("rows")) {
      return feeder_.resize({size_at(value, "rows"), size_at(value, "columns")});
    }
    order(value);
  }
  static std::uint16_t size_at(const json::value& value, const char* key) {
    const double number = number_at(value, key);
    if (!(number >= 0 && number <= 65535)) throw Error(Code::invalid, std::string("'") + key + "' is no size of a terminal");
    return static_cast<std::uint16_t>(number);
  }

  Feeder feeder_;
  FrameParser parser_;
  bool ended_ = false;
  std::uint64_t log_watcher_ = 0;
  std::uint64_t input_watcher_ = 0;
};

class AttachSource final : public ProcessSource {
 public:
  AttachSource(Instances& instances, std::shared_ptr<LiveInstance> live, bool owns, Framing framing)
      : ProcessSource(live->instance().log(), live->instance().input(), live->workload().tty, framing),
        instances_(instances),
        live_(std::move(live)),
        owns_(owns) {
    follows_ = frames_.cursor.follows = log_.follow();  // a slow client holds the workload up; it loses nothing
    if (!owns_) frames_.cursor.line = log_.next_number();
  }
  ~AttachSource() override {
    ignore();
    ignore_end();
  }

  std::string head() override { return upgraded("/tare/v1/instances/" + live_->id()); }
  std::string next() override {
    if (detached_ && !ended()) return last(json::object{{"detached", live_->id()}});
    const bool over = live_->ending() && (!owns_ || live_->removed());  // before the reading: what is written until then is read now
    std::string out = frames_.next();
    if (!out.empty() || !over || ended()) return out;
    return last(json::object{{"exit", to_json(*live_->ending())}});
  }
  void on_change(std::function<void()> wake) override {
    ignore_end();
    if (wake) end_watcher_ = live_->watch(wake);
    ProcessSource::on_change(std::move(wake));
  }
  void closed() override {
    if (follows_) log_.unfollow();
    if (owns_ && !live_->removed()) instances_.later([&instances = instances_, id = live_->id()] { end(instances, id); });
  }

 private:
  const std::string& name() const override { return live_->id(); }
  void signal(int number) override {
    instances_.later([live = live_, number] {
      try {
        live->instance().signal(number);
      } catch (const Error& e) {
        if (e.code() != Code::conflict) throw;  // it has ended in between
      }
    });
  }
  void order(const json::value& value) override {
    const json::object* object = value.if_object();
    if (object == nullptr || !object->contains("detach") || detached_) return;
    if (owns_ && !live_->may_be_left()) throw Error(Code::conflict, "only who has stdin and a terminal can be left running");
    if (owns_) instances_.detach(*live_);
    owns_ = false;
    detached_ = true;
    if (wake_) wake_();
  }
  void ignore_end() {
    if (end_watcher_ != 0) live_->unwatch(end_watcher_);
    end_watcher_ = 0;
  }
  static void end(Instances& instances, const std::string& id) {
    try {
      instances.remove(id, true);
    } catch (const Error& e) {
      if (e.code() != Code::not_found) throw;  // it has ended by itself in between
    }
  }

  Instances& instances_;
  const std::shared_ptr<LiveInstance> live_;
  bool owns_;
  bool follows_ = false;
  bool detached_ = false;
  std::uint64_t end_watcher_ = 0;
};

class ExecSource final : public ProcessSource {
 public:
  ExecSource(Instances& instances, std::shared_ptr<LiveInstance> live, std::shared_ptr<Exec> exec, bool tty, Framing framing)
      : ProcessSource(exec->log(), exec->input(), tty, framing), instances_(instances), live_(std::move(live)), exec_(std::move(exec)) {
    frames_.cursor.follows = log_.follow();
  }
  ~ExecSource() override { ignore(); }

  std::string head() override { return upgraded("/tare/v1/instances/" + live_->id()); }
  std::string next() override {
    const bool over = log_.closed();
    std::string out = frames_.next();
    if (!out.empty() || !over || ended()) return out;
    try {
      if (const auto exit = exec_->wait(Deadline::in(std::chrono::seconds(0)))) {
        return last(json::object{{"exit", to_json(Ending{*exit, "", 0})}});
      }
      return last(parse_json(error_body(Error(Code::failed, "nobody can tell how it ended"))));
    } catch (const Error& e) {
      return last(parse_json(error_body(e)));
    }
  }
  void closed() override {
    log_.unfollow();
    // It may have to be killed first, which takes a moment.
    instances_.aside([live = live_, exec = std::move(exec_)]() mutable { exec.reset(); });
  }

 private:
  const std::string& name() const override { return live_->id(); }
  void signal(int number) override {
    instances_.later([live = live_, exec = std::weak_ptr(exec_), number] {
      try {
        if (const auto running = exec.lock()) running->signal(number);
      } catch (const Error& e) {
        if (e.code() != Code::conflict) throw;  // it has ended in between
      }
    });
  }

  Instances& instances_;
  const std::shared_ptr<LiveInstance> live_;
  std::shared_ptr<Exec> exec_;
};

}  // namespace

std::unique_ptr<Source> attach_source(Instances& instances, std::shared_ptr<LiveInstance> live, bool owns, Framing framing) {
  return std::make_unique<AttachSource>(instances, std::move(live), owns, framing);
}
std::unique_ptr<Source> exec_source(Instances& instances, std::shared_ptr<LiveInstance> live, std::unique_ptr<Exec> exec, bool tty,
                                    Framing framing) {
  return std::make_unique<ExecSource>(instances, std::move(live), std::move(exec), tty, framing);
}

}  // namespace tare::agent
