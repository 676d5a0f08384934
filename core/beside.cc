// SPDX-License-Identifier: Apache-2.0
#include "core/beside.h"

#include <sched.h>

#include <cstring>
#include <string>
#include <utility>

#include "core/error.h"

namespace tare {

Beside::Beside(std::function<void()> work) : work_(std::move(work)) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  if (::sched_getaffinity(0, sizeof processors_, &processors_) == 0) {  // fails where there are more than a cpu_set_t holds
    cpu_set_t others = processors_;
    CPU_CLR(static_cast<std::size_t>(::sched_getcpu()), &others);
    if (CPU_COUNT(&others) > 0) ::pthread_attr_setaffinity_np(&attributes, sizeof others, &others);
  }
  const int error = ::pthread_create(&thread_, &attributes, run, this);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) throw Error(Code::exhausted, errno_text("make a thread", error));
}

Beside::~Beside() {
  if (!joined_) ::pthread_join(thread_, nullptr);
}

void Beside::join() {
  ::pthread_join(thread_, nullptr);
  joined_ = true;
  if (failure_) std::rethrow_exception(failure_);
}

void* Beside::run(void* self) {
  auto& beside = *static_cast<Beside*>(self);
  if (CPU_COUNT(&beside.processors_) > 0) ::sched_setaffinity(0, sizeof beside.processors_, &beside.processors_);
  try {
    beside.work_();
  } catch (...) {
    beside.failure_ = std::current_exception();
  }
  return nullptr;
}

}  // namespace tare
