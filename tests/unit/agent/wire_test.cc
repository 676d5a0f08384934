// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "agent/config.h"
#include "agent/events.h"
#include "agent/router.h"
#include "agent/suggest.h"
#include "core/error.h"

namespace tare::agent {
namespace {

using testing::HasSubstr;

TEST(Suggestion, IsTheNearestWord) {
  EXPECT_EQ(did_you_mean("benhc", {"agent", "bench"}), " (did you mean 'bench'?)");
  EXPECT_EQ(did_you_mean("sho", {"show", "runs"}), " (did you mean 'show'?)");
}

TEST(Suggestion, IsNotMadeForAWordThatIsFarFromAll) { EXPECT_EQ(did_you_mean("zebra", {"agent", "bench"}), ""); }

TEST(EventHub, DoesNotLetGoOfACallbackThatIsRunning) {
  EventHub hub;
  std::promise<void> entered;
  std::atomic<bool> over = false;
  hub.on_change([&] {
    entered.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    over = true;
  });
  const std::jthread publisher([&] { hub.published(); });
  entered.get_future().wait();
  hub.on_change({});
  EXPECT_TRUE(over);  // what it refers to may end from here on
}

TEST(EventMessage, PutsEachLineInAFieldOfItsOwn) {
  EXPECT_EQ(sse_message(7, "trial", "{}\na,b"), "id: 7\nevent: trial\ndata: {}\ndata: a,b\n\n");
  EXPECT_EQ(sse_message(0, "progress", "{}"), "event: progress\ndata: {}\n\n");
}

TEST(EventMessage, IsReadBackHoweverTheBytesAreCut) {
  const std::string stream = ": still here\n\n" + sse_message(3, "trial", "one\n\ntwo") + sse_message(4, "finished", "x");
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    SseParser parser;
    auto messages = parser.feed(std::string_view(stream).substr(0, cut));
    for (auto& message : parser.feed(std::string_view(stream).substr(cut))) messages.push_back(message);
    ASSERT_EQ(messages.size(), 2U) << "cut at " << cut;
    EXPECT_EQ(messages[0].id, "3");
    EXPECT_EQ(messages[0].data, "one\n\ntwo");
    EXPECT_EQ(messages[1].event, "finished");
  }
}

class Routes : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* method : {"GET", "DELETE"}) router_.add(method, "/runs/{id}", [](const Request&) { return Response(); });
    router_.add("GET", "/runs", [](const Request&) { return Response(); });
  }
  Router::Match match(const std::string& method, const std::string& target) {
    request_ = {};
    request_.method = method;
    request_.target = target;
    return router_.match(request_);
  }
  Router router_;
  Request request_;
};

TEST_F(Routes, TakeNamesFromThePathAndValuesFromTheQuery) {
  EXPECT_NE(match("DELETE", "/runs/a%20b?seed=7&backends=metal%2Cvm").handler, nullptr);
  EXPECT_EQ(request_.path.at("id"), "a b");
  EXPECT_EQ(request_.query.at("seed"), "7");
  EXPECT_EQ(request_.query.at("backends"), "metal,vm");
}

TEST_F(Routes, KnowAWrongMethodFromAnUnknownPath) {
  EXPECT_EQ(match("PUT", "/runs/x").allowed, "GET, DELETE");
  EXPECT_EQ(match("PUT", "/runs/x").pattern, "/runs/{id}");
  EXPECT_EQ(match("GET", "/nothing").allowed, "");
  EXPECT_EQ(match("GET", "/runs/").handler, nullptr);
  EXPECT_EQ(match("GET", "/runs/x/y").handler, nullptr);
}

TEST_F(Routes, RefuseATargetThatIsNoPath) {
  EXPECT_THROW(match("GET", "%zz"), Error);
  EXPECT_THROW(match("GET", "http://other/runs"), Error);
}

std::string refusal(const std::string& yaml) {
  try {
    load_config(yaml, "agent.yaml");
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Config, AnEmptyFileMeansTheDefaults) {
  const Config config = load_config("", "agent.yaml");
  EXPECT_FALSE(config.tcp_port);
  EXPECT_EQ(config.event_streams, 8);
  EXPECT_EQ(config.parked, 8);
  EXPECT_EQ(config.vm.connection, "embed");
}

TEST(Config, KeysAreRead) {
  const Config config = load_config(
      "tcp_port: 9000\ntcp_address: 0.0.0.0\nlog_level: warn\nvm:\n  machine: q35\n  profile: tuned\n  confinement: fast\n  cache: none\n  "
      "connection: "
      "qemu:///system\n",
      "agent.yaml");
  EXPECT_EQ(config.tcp_port, 9000);
  EXPECT_EQ(config.tcp_address, "0.0.0.0");
  EXPECT_EQ(load_config("tcp_address: '::1'\n", "agent.yaml").tcp_address, "::1");
  EXPECT_EQ(load_config("parked: 2\n", "agent.yaml").parked, 2);
  EXPECT_EQ(config.log_level, "warn");
  EXPECT_EQ(config.vm.machine, "q35");
  EXPECT_EQ(config.vm.profile, "tuned");
  EXPECT_EQ(config.vm.confinement, "fast");
  EXPECT_EQ(config.vm.cache, "none");
  EXPECT_EQ(config.vm.connection, "qemu:///system");
}

TEST(Config, AMistakeIsNamedWithItsLine) {
  EXPECT_EQ(load_config("bridge_range: 172.30.0.0/24\n", "agent.yaml").bridge_range, "172.30.0.0/24");
  EXPECT_THAT(refusal("bridge_range: 10.214.0.1/16\n"), HasSubstr("agent.yaml:1: 'bridge_range' is '10.214.0.1/16', which is no range"));
  EXPECT_THAT(refusal("log_level: info\ntcp_prot: 1\n"), HasSubstr("agent.yaml:2: unknown key 'tcp_prot' (did you mean 'tcp_port'?)"));
  EXPECT_THAT(refusal("tcp_port: 70000\n"), HasSubstr("agent.yaml:1: 'tcp_port' must be a number from 1 to 65535"));
  EXPECT_THAT(refusal("parked: 0\n"), HasSubstr("agent.yaml:1: 'parked' must be a number from 1 to 256"));
  EXPECT_THAT(refusal("vm:\n  machine: q53\n"), HasSubstr("agent.yaml:2: 'machine' cannot be 'q53' (did you mean 'q35'?)"));
  EXPECT_THAT(refusal("tcp_address: everywhere\n"), HasSubstr("agent.yaml:1: 'tcp_address' is 'everywhere', which is no IP address"));
  EXPECT_THAT(refusal("vm: fast\n"), HasSubstr("agent.yaml:1"));
  EXPECT_THAT(refusal("a: [\n"), HasSubstr("not valid YAML"));
  EXPECT_THAT(refusal("- a\n"), HasSubstr("must be a map"));
}

}  // namespace
}  // namespace tare::agent
