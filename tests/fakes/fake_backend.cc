// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_backend.h"

#include <condition_variable>
#include <csignal>
#include <thread>
#include <utility>

#include "tests/fakes/fake_exec.h"

namespace tare::fakes {

struct FakeBackend::Shared {
  std::mutex mutex;
  int started = 0;
  int alive = 0;
  std::vector<std::string> prepared;
};

namespace {

void sleep_until(Instant at) { std::this_thread::sleep_for(Deadline(at).left()); }

/// What cat does: everything comes out again, and the end of its stdin is its own.
class FakeInput final : public Input {
 public:
  FakeInput(Log& log, std::function<void()> closed) : log_(log), closed_(std::move(closed)) {}
  std::size_t write(std::string_view bytes) override {
    log_.append(Stream::out, bytes, Instant::now());
    return bytes.size();
  }
  void close() override { closed_(); }
  void resize(TerminalSize size) override { write("size " + std::to_string(size.rows) + "x" + std::to_string(size.columns) + "\n"); }

 private:
  Log& log_;
  const std::function<void()> closed_;
};

class FakeInstance : public Instance {
 public:
  FakeInstance(Script script, const Workload& workload, Timeline& timeline, std::function<void()> on_removed)
      : id_(new_instance_id()),
        started_as_(script.started_as.value_or(workload.start)),
        script_(std::move(script)),
        timeline_(timeline),
        on_removed_(std::move(on_removed)) {
    if (workload.open_stdin || workload.tty) {
      input_ = std::make_unique<FakeInput>(log_, [this] {
        const std::scoped_lock lock(mutex_);
        end_by(Exit{}, std::chrono::nanoseconds(0));
      });
    }
    const Instant now = Instant::now();
    if (!script_.output.empty()) log_.append(Stream::out, script_.output, now);
    if (!script_.errors.empty()) log_.append(Stream::err, script_.errors, now);
    if (script_.exits) end_at_ = now + *script_.exits;
    end_ = script_.exit;
    thread_ = std::thread([this] { live(); });
  }
  ~FakeInstance() override { end_life(); }

  const std::string& id() const override { return id_; }
  Start started_as() const override { return started_as_; }
  State state() const override {
    const std::scoped_lock lock(mutex_);
    return state_;
  }
  std::string address() const override { return script_.address; }
  Usage usage() const override { return script_.usage; }
  const Log& log() const override { return log_; }
  Input* input() override { return input_.get(); }
  std::map<std::string, std::string> protections() const override { return script_.protections; }
  std::vector<std::string> remarks() const override { return script_.remarks; }

  std::optional<Exit> wait(Deadline deadline) override {
    std::unique_lock lock(mutex_);
    const auto ended = [this] { return exit_.has_value(); };
    if (deadline.at() == Deadline::never().at()) {
      changed_.wait(lock, ended);
    } else {
      changed_.wait_for(lock, deadline.left(), ended);
    }
    return exit_;
  }

  void signal(int number) override {
    const std::scoped_lock lock(mutex_);
    if (exit_) throw Error(Code::conflict, "instance " + id_ + " has ended already");
    if (number == SIGKILL) {
      end_by(Exit{number, true, false}, std::chrono::nanoseconds(0));
    } else if (number == SIGTERM && !script_.ignores_term) {
      end_by(Exit{number, true, false}, script_.stopping);
    }
  }

  void pause() override { move(State::running, State::paused); }
  void resume() override { move(State::paused, State::running); }

  void update(const Limits& limits) override {
    const State now = state();
    if (now != State::running && now != State::paused) throw Error(Code::conflict, "instance " + id_ + " has ended already");
    if (script_.updated) script_.updated(limits);
  }

  std::unique_ptr<Exec> start_exec(const ExecRequest& request, Deadline deadline) override {
    if (deadline.passed()) throw Error(Code::timeout, "exec in instance " + id_ + " was not over in time");
    if (state() != State::running) throw Error(Code::conflict, "instance " + id_ + " is not running");
    if (script_.exec) return std::make_unique<FakeExec>(script_.exec(request.command));
    ExecResult result;
    for (const std::string& word : request.command) result.out += (result.out.empty() ? "" : " ") + word;
    result.out += '\n';
    return std::make_unique<FakeExec>(result);
  }

  Exit stop(std::chrono::nanoseconds grace) override {
    timeline_.mark(Mark::stopping);
    send(SIGTERM);
    if (const auto exit = wait(Deadline::in(grace))) return *exit;
    send(SIGKILL);
    return *wait(Deadline::never());
  }

  void remove() override {
    if (auto failure = std::exchange(script_.remove_fails, std::nullopt)) throw *failure;
    end_life();
  }

 private:
  void send(int number) {
    try {
      signal(number);
    } catch (const Error&) {  // it has ended meanwhile
    }
  }

  // With the lock held.
  void end_by(const Exit& end, std::chrono::nanoseconds delay) {
    const Instant at = Instant::now() + delay;
    if (end_at_ && *end_at_ <= at) return;
    end_at_ = at;
    end_ = end;
    changed_.notify_all();
  }

  void move(State from, State to) {
    const std::scoped_lock lock(mutex_);
    if (state_ != from)
      throw Error(Code::conflict, "instance " + id_ + " is " + std::string(tare::name(state_)) + ", not " + std::string(tare::name(from)));
    state_ = to;
  }

  // The life of the workload, on its own thread.
  void live() {
    std::unique_lock lock(mutex_);
    while (!end_at_ || Instant::now() < *end_at_) {
      if (end_at_) {
        changed_.wait_for(lock, Deadline(*end_at_).left());
      } else {
        changed_.wait(lock);
      }
    }
    timeline_.mark(Mark::exited);
    exit_ = end_;
    state_ = State::exited;
    lock.unlock();
    log_.close();
    changed_.notify_all();
  }

  void end_life() {
    if (!thread_.joinable()) return;
    send(SIGKILL);
    thread_.join();
    timeline_.mark(Mark::removed);
    {
      const std::scoped_lock lock(mutex_);
      state_ = State::removed;
    }
    on_removed_();
  }

  std::string id_;
  const Start started_as_;
  Script script_;
  Timeline& timeline_;
  std::function<void()> on_removed_;
  Log log_;
  std::unique_ptr<FakeInput> input_;  // with stdin or a terminal
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::running;
  std::optional<Instant> end_at_;
  Exit end_;
  std::optional<Exit> exit_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

FakeBackend::FakeBackend(std::string name) : name_(std::move(name)), shared_(std::make_shared<Shared>()) {
  probe_result.able = true;
  probe_result.implementation = "fake";
}

FakeBackend::~FakeBackend() = default;

Probe FakeBackend::probe() const { return probe_result; }

void FakeBackend::prepare(const Workload& workload) {
  const std::scoped_lock lock(shared_->mutex);
  if (prepare_fails) throw *prepare_fails;
  shared_->prepared.push_back(workload.name);
}

std::unique_ptr<Instance> FakeBackend::start(const Workload& workload, Timeline& timeline) {
  int number = 0;
  {
    const std::scoped_lock lock(shared_->mutex);
    number = ++shared_->started;
  }
  Script script = behaviour ? behaviour(workload, number) : Script();
  const Instant begin = Instant::now();
  const auto mark_at = [&](Mark mark, std::chrono::nanoseconds delay) {
    sleep_until(begin + delay);
    timeline.mark(mark);
  };
  if (script.disordered) timeline.mark(Mark::launched);
  mark_at(Mark::prepared, script.prepared);
  mark_at(Mark::launched, script.launched);
  const auto guest_mark_at = [&](Mark mark, std::chrono::nanoseconds delay) {
    sleep_until(begin + delay);
    timeline.mark(mark, Instant::now(), GuestReading{0, Instant::now(), script.clock_error});
  };
  if (script.kernel) guest_mark_at(Mark::kernel, *script.kernel);
  if (script.init) guest_mark_at(Mark::init, *script.init);
  if (script.start_fails) {
    sleep_until(begin + script.executed);
    throw *script.start_fails;
  }
  mark_at(Mark::executed, script.executed);
  {
    const std::scoped_lock lock(shared_->mutex);
    ++shared_->alive;
  }
  return std::make_unique<FakeInstance>(std::move(script), workload, timeline, [shared = shared_] {
    const std::scoped_lock lock(shared->mutex);
    --shared->alive;
  });
}

int FakeBackend::started() const {
  const std::scoped_lock lock(shared_->mutex);
  return shared_->started;
}

int FakeBackend::alive() const {
  const std::scoped_lock lock(shared_->mutex);
  return shared_->alive;
}

std::vector<std::string> FakeBackend::prepared_workloads() const {
  const std::scoped_lock lock(shared_->mutex);
  return shared_->prepared;
}

}  // namespace tare::fakes
