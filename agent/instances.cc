// SPDX-License-Identifier: Apache-2.0
#include "agent/instances.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <list>
#include <thread>

#include "agent/instance_record.h"
#include "agent/journal.h"
#include "agent/suggest.h"
#include "core/error.h"
#include "core/instance_dir.h"

namespace tare::agent {

/// Ends are noted and removals made here, not on the threads that tell of them.
class Instances::Workers {
 public:
  boost::asio::thread_pool pool{2};

  struct Aside {
    std::jthread thread;
    std::shared_ptr<std::atomic<bool>> over = std::make_shared<std::atomic<bool>>(false);
  };
  std::mutex mutex;
  std::list<Aside> asides;  // those that are over are joined when the next one comes
};

namespace {

void log_failure(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& e) {
    journal::warn(e.what());
  }
}

}  // namespace

void check_instance_name(const std::string& name) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const bool good = name.size() >= 2 && name.size() <= 255 && kLetters.find(name[0]) != std::string_view::npos &&
                    name.find_first_not_of(std::string(kLetters) + "_.-") == std::string::npos;
  if (!good)
    throw Error(Code::invalid, "'" + name + "' is not a name for an instance", "use letters, digits, '_', '.' and '-', at least two");
}

Instances::Instances(const Paths& paths, const BackendSet& backends, bool keep)
    : paths_(paths), backends_(backends), keep_(keep), workers_(std::make_unique<Workers>()) {}

Instances::~Instances() {
  for (const auto& instance : list()) {
    try {
      if (is_kept(*instance)) {
        instance->instance().leave();
      } else {
        drop(*instance);
      }
    } catch (const Error& e) {
      journal::warn("instance " + instance->id() + ": " + e.what());
    }
  }
  workers_->pool.join();
}

Backend& Instances::backend_named(const std::string& name) const {
  std::vector<std::string> names;
  for (Backend* backend : backends_.all()) {
    if (backend->name() == name) return *backend;
    names.emplace_back(backend->name());
  }
  std::string list;
  for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
  throw Error(Code::invalid, "there is no backend '" + name + "'" + did_you_mean(name, names), "one of: " + list);
}

void Instances::take_name(const std::string& name) {
  if (name.empty()) return;
  check_instance_name(name);
  const std::scoped_lock lock(mutex_);
  if (!names_.insert(name).second) {
    throw Error(Code::conflict, "the name '" + name + "' is in use by another instance",
                "remove it with `tare rm " + name + "`, or take another");
  }
}

void Instances::follow_marks(const std::shared_ptr<LiveInstance>& live) {
  live->timeline().on_mark([this, weak = std::weak_ptr(live)](Mark mark) {
    if (mark == Mark::exited) later([this, weak] { ended(weak); });
  });
}

void Instances::insert(const std::shared_ptr<LiveInstance>& live) {
  {
    const std::scoped_lock lock(mutex_);
    by_id_[live->id()] = live;
  }
  // One that ended at once did so before it was here to be found.
  if (live->timeline().at(Mark::exited)) later([this, weak = std::weak_ptr(live)] { ended(weak); });
}

std::unique_ptr<Instance> Instances::make(Backend& backend, LiveInstance& live) {
  backend.prepare(live.workload());
  if (!is_kept(live) && !(keep_ && live.may_be_left())) return backend.start(live.workload(), live.timeline());
  std::filesystem::path path;
  const auto record = [&](const InstanceDir& directory) {
    path = directory.path();
    record_intent(path, paths_.run, live);
  };
  auto instance = backend.start_kept(record, live.workload(), live.timeline());
  if (!path.empty()) record_start(path, live.timeline());
  return instance;
}

std::shared_ptr<LiveInstance> Instances::start(StartInstance request) {
  Backend& backend = backend_named(request.backend);
  take_name(request.name);
  const std::string name = request.name;
  try {
    auto live = std::make_shared<LiveInstance>(std::move(request));
    follow_marks(live);
    live->hold(make(backend, *live));
    insert(live);
    return live;
  } catch (...) {
    const std::scoped_lock lock(mutex_);
    names_.erase(name);
    throw;
  }
}

void Instances::adopt() {
  std::set<std::string> ids;
  for (const std::string& id : orphaned_instances(paths_)) {
    try {
      if (adopt_one(id)) ids.insert(id);
    } catch (const Error& e) {
      journal::warn("instance " + id + " of a dead agent is not adopted: " + e.what());  // the sweep removes it
    }
  }
  backends_.end_unclaimed(ids);
  if (!ids.empty()) journal::info("adopted " + std::to_string(ids.size()) + " instances");
}

std::shared_ptr<LiveInstance> Instances::adopt_one(const std::string& id) {
  auto record = read_record(paths_.instances() / id);
  if (!record || !record->started || record->start.attached || record->run != std::filesystem::absolute(paths_.run)) return nullptr;
  Backend& backend = backend_named(record->start.backend);
  auto live = std::make_shared<LiveInstance>(std::move(record->start), record->created_at, std::move(record->ending));
  if (record->requested) live->timeline().mark(Mark::requested, *record->requested);
  if (record->prepared) live->timeline().mark(Mark::prepared, *record->prepared);
  follow_marks(live);
  InstanceDir directory = InstanceDir::adopt(paths_, id);
  std::unique_ptr<Instance> instance;
  try {
    instance = backend.adopt(directory, live->workload(), live->timeline());
  } catch (...) {
    std::filesystem::remove(paths_.instances() / id / "owner");  // nobody's again, for the sweep
    directory.release();
    throw;
  }
  if (!instance) throw Error(Code::unsuited, "backend '" + live->backend() + "' keeps none");
  live->hold(std::move(instance));
  {
    const std::scoped_lock lock(mutex_);
    names_.insert(live->name());
  }
  insert(live);
  return live;
}

void Instances::ended(const std::weak_ptr<LiveInstance>& weak) {
  const auto live = weak.lock();
  if (!live) return;
  {
    const std::scoped_lock lock(mutex_);
    if (std::none_of(by_id_.begin(), by_id_.end(), [&](const auto& entry) { return entry.second == live; })) return;
  }
  live->note_end();
  if (live->attached()) return drop(*live);
  if (!is_kept(*live)) return;
  live->while_present([&] {
    const std::filesystem::path directory = paths_.instances() / live->id();
    if (std::filesystem::exists(directory)) record_end(directory, *live->ending());
  });
}

std::shared_ptr<LiveInstance> Instances::find(const std::string& reference) const {
  const std::scoped_lock lock(mutex_);
  if (const auto found = by_id_.find(reference); found != by_id_.end()) return found->second;
  std::vector<std::shared_ptr<LiveInstance>> fitting;
  std::vector<std::string> names;
  for (const auto& [id, instance] : by_id_) {
    if (instance->name() == reference) return instance;
    names.push_back(instance->name());
    if (!reference.empty() && id.starts_with(reference)) fitting.push_back(instance);
  }
  if (fitting.size() == 1) return fitting.front();
  if (fitting.size() > 1) throw Error(Code::conflict, "more than one instance begins with '" + reference + "'", "write more of its id");
  throw Error(Code::not_found, "there is no instance '" + reference + "'" + did_you_mean(reference, names), "`tare ps --all` lists them");
}

std::vector<std::shared_ptr<LiveInstance>> Instances::list() const {
  std::vector<std::shared_ptr<LiveInstance>> out;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [id, instance] : by_id_) out.push_back(instance);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a->created_at() > b->created_at(); });
  return out;
}

void Instances::remove(const std::string& reference, bool force) {
  const auto live = find(reference);
  const State state = live->state();
  if (!force && (state == State::running || state == State::paused)) {
    throw Error(Code::conflict, "instance '" + live->name() + "' is " + std::string(name(state)),
                "stop it with `tare stop " + live->name() + "`, or remove it with `tare rm --force`");
  }
  drop(*live);
}

void Instances::detach(LiveInstance& live) {
  live.detach();
  if (!is_kept(live) || !live.may_be_left()) return;
  live.while_present([&] {
    const std::filesystem::path directory = paths_.instances() / live.id();
    if (std::filesystem::exists(directory)) record_intent(directory, paths_.run, live);
  });
}

void Instances::drop(LiveInstance& instance) {
  instance.remove();
  const std::scoped_lock lock(mutex_);
  names_.erase(instance.name());
  by_id_.erase(instance.id());
}

void Instances::later(std::function<void()> work) {
  boost::asio::post(workers_->pool, [work = std::move(work)] { log_failure(work); });
}

void Instances::aside(std::function<void()> work) {
  const std::scoped_lock lock(workers_->mutex);
  workers_->asides.remove_if([](const Workers::Aside& aside) { return aside.over->load(); });
  Workers::Aside& aside = workers_->asides.emplace_back();
  aside.thread = std::jthread([work = std::move(work), over = aside.over] {
    log_failure(work);
    *over = true;
  });
}

}  // namespace tare::agent
