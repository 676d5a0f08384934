// SPDX-License-Identifier: Apache-2.0
// The API of a running agent.
#include <atomic>

#include "agent_fixture.h"

namespace tare::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class AgentApi : public AgentTest {
 protected:
  void SetUp() override { start_agent(); }
  Error refused(const std::string& method, const std::string& target, const std::string& body = "") const {
    try {
      client().request(method, target, body);
    } catch (const Error& e) {
      return e;
    }
    return Error(Code::internal, "it was not refused");
  }
};

TEST_F(AgentApi, TheSocketIsForRootAndItsGroupAlone) {
  struct stat info {};
  ASSERT_EQ(::stat(socket().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0660U);
}

TEST_F(AgentApi, ARunIsStoredWithItsSamplesAndItsResult) {
  const std::string run = post(suite(7));
  ASSERT_TRUE(wait_for_end(run));
  EXPECT_EQ(state_of(run), "ok");
  const std::string csv = client().get("/tare/v1/runs/" + run + "/samples");
  EXPECT_THAT(csv, AllOf(StartsWith("run,block,trial,backend,"), HasSubstr(",mark.ready,s,"), HasSubstr(",vm,")));
  EXPECT_THAT(client().get("/tare/v1/runs/" + run + "/samples?format=json"), HasSubstr("\"metric\":\"mark.ready\""));
  EXPECT_THAT(client().get("/tare/v1/runs/" + run + "/result"), AllOf(HasSubstr("\"comparisons\""), HasSubstr("mark.ready")));
  EXPECT_THAT(client().get("/tare/v1/runs"), HasSubstr(run));
}

TEST_F(AgentApi, ASecondRunIsRefusedWithTheNameOfTheFirst) {
  const std::string run = post(suite(1000));
  const Error e = refused("POST", "/tare/v1/runs", suite(1));
  EXPECT_EQ(e.code(), Code::conflict);
  EXPECT_THAT(e.sentence(), HasSubstr(run));
}

TEST_F(AgentApi, DeleteCancelsAndKeepsWhatWasMeasured) {
  const std::string run = post(suite(10000));
  while (client().get("/tare/v1/runs/" + run + "/samples").find("mark.ready") == std::string::npos)
    std::this_thread::sleep_for(milliseconds(5));
  client().request("DELETE", "/tare/v1/runs/" + run);
  ASSERT_TRUE(wait_for_end(run));
  EXPECT_EQ(state_of(run), "canceled");
  EXPECT_THAT(client().get("/tare/v1/runs/" + run + "/samples"), HasSubstr("mark.ready"));
  EXPECT_EQ(refused("DELETE", "/tare/v1/runs/" + run).code(), Code::conflict);
}

TEST_F(AgentApi, EventsGoOnAfterTheLastOneSeen) {
  const std::string run = post(suite(5));
  ASSERT_TRUE(wait_for_end(run));
  const auto all = events(run);
  ASSERT_GT(all.size(), 15U);
  EXPECT_EQ(all.front().event, "run");
  EXPECT_EQ(all.back().event, "finished");
  const auto rest = events(run, all[4].id);
  ASSERT_EQ(rest.size(), all.size() - 5);
  EXPECT_EQ(rest.front().data, all[5].data);
  EXPECT_THAT(rest.front().data, HasSubstr("mark.ready"));  // a trial brings its samples
}

TEST_F(AgentApi, BadRequestsAreAnsweredWithTheOneErrorBody) {
  EXPECT_THAT(raw("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("\"code\":\"not_found\"")));
  EXPECT_THAT(raw("PUT /tare/v1/runs HTTP/1.1\r\nHost: x\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: GET, POST")));
  EXPECT_THAT(raw("GET /tare/v1/runs/x HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 404"));
  EXPECT_EQ(refused("POST", "/tare/v1/runs", "a: [").code(), Code::invalid);
  EXPECT_EQ(refused("POST", "/tare/v1/runs", "").code(), Code::invalid);
  EXPECT_EQ(refused("POST", "/tare/v1/runs?seed=many", suite(1)).code(), Code::invalid);
  EXPECT_THAT(refused("POST", "/tare/v1/runs?backends=wm", suite(1)).sentence(), HasSubstr("did you mean 'vm'?"));
}

TEST_F(AgentApi, WhatIsNoHttpEndsTheConnectionAndNotTheAgent) {
  EXPECT_THAT(raw("\x16\x03\x01 hello\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(raw("GET " + std::string(100000, 'a') + " HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 4"));
  EXPECT_THAT(raw("POST /tare/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(raw("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  raw(std::string(1000, '\0'));
  EXPECT_THAT(client().get("/healthz"), HasSubstr("ok"));
}

TEST_F(AgentApi, TwoHundredRequestsAtOnceAreAllAnswered) {
  std::atomic<int> answered = 0;
  std::vector<std::jthread> askers;
  for (int i = 0; i < 200; ++i) {
    askers.emplace_back([&] {
      if (client().get("/metrics").find("tare_build_info") != std::string::npos) ++answered;
    });
  }
  askers.clear();
  EXPECT_EQ(answered, 200);
}

TEST_F(AgentApi, MetricsPassPromtoolAndCountersGoOnOverRuns) {
  ASSERT_TRUE(wait_for_end(post(suite(7))));
  const std::string after_one = client().get("/metrics");
  EXPECT_THAT(after_one, AllOf(HasSubstr("tare_result_start_seconds{backend=\"vm\",workload=\"w\",cache=\"cold\",stat=\"p50\"}"),
                               HasSubstr("tare_overhead_ratio{backend=\"container\",workload=\"w\",measure=\"start\"}"),
                               HasSubstr("tare_trials_total{backend=\"metal\",workload=\"w\",outcome=\"ok\"} 7"),
                               HasSubstr("tare_backend_info{backend=\"vm\",implementation=\"fake-tcg, emulated\",version=\"2.1\"} 1")));
  // A run of one backend changes nothing of what is said of the others.
  const std::string info = "tare_backend_info{backend=\"vm\",implementation=\"fake-tcg, emulated\"";
  const std::string one = client().request("POST", "/tare/v1/runs?backends=metal", suite(7));
  ASSERT_TRUE(wait_for_end(one.substr(one.find("\"id\":\"") + 6, 20)));
  EXPECT_THAT(client().get("/metrics"), HasSubstr(info));
  ASSERT_TRUE(wait_for_end(post(suite(7))));
  const std::string text = client().get("/metrics");
  EXPECT_THAT(text, HasSubstr("tare_trials_total{backend=\"metal\",workload=\"w\",outcome=\"ok\"} 21"));
  EXPECT_THAT(text, HasSubstr("tare_cpu_usage_seconds_total{backend=\"metal\",workload=\"w\",mode=\"user\"} 0.063"));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  const Output checked =
      run_tool({"sh", "-c", "promtool check metrics < \"$0\"", write("metrics", text).string()}, Deadline::in(seconds(20)));
  EXPECT_TRUE(checked.exit.ok()) << checked.out << checked.err;
}

TEST_F(AgentApi, TheLeaseEndsWithItsConnection) {
  std::string run;
  {
    const auto held = client().request_and_hold("POST", "/tare/v1/runs?lease=1", suite(10000));
    run = held.body.substr(held.body.find("\"id\":\"") + 6, 20);
    EXPECT_EQ(state_of(run), "running");
  }
  ASSERT_TRUE(wait_for_end(run));
  EXPECT_EQ(state_of(run), "canceled");
}

TEST_F(AgentApi, TheHostIsDescribedWithItsBackendsAndChecks) {
  EXPECT_THAT(client().get("/tare/v1/host"),
              AllOf(HasSubstr("\"facts\""), HasSubstr("\"name\":\"root\""), HasSubstr("\"name\":\"metal\"")));
}

class AgentOverTcp : public AgentTest {
 protected:
  /// The status that curl gets with these arguments.
  static std::string over_tcp(std::vector<std::string> arguments) {
    std::vector<std::string> argv = {"curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run_tool(argv, Deadline::in(seconds(10))).out;
  }
};

TEST_F(AgentOverTcp, StreamsAreCappedAndForeignHostsRefused) {
  start_agent("event_streams: 1\ntcp_port: 39177\n");
  trial_ms_ = 50;
  const std::string run = post(suite(10000));
  std::jthread reader([&] { raw("GET /tare/v1/runs/" + run + "/events HTTP/1.1\r\nHost: x\r\n\r\n"); });
  const Deadline deadline = Deadline::in(seconds(5));
  while (client().get("/metrics").find("tare_agent_event_streams 1") == std::string::npos && !deadline.passed())
    std::this_thread::sleep_for(milliseconds(5));
  EXPECT_THAT(raw("GET /tare/v1/runs/" + run + "/events HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 503"));
  const auto curl = [](const std::string& header) { return over_tcp({"-H", header, "http://127.0.0.1:39177/healthz"}); };
  EXPECT_EQ(curl("X: y"), "200");
  EXPECT_EQ(curl("Host: evil.example"), "400");
  EXPECT_EQ(curl("Origin: http://evil.example"), "403");
  client().request("DELETE", "/tare/v1/runs/" + run);
  reader.join();
}

TEST_F(AgentOverTcp, OtherAddressesOfThisHostAnswerWhenTheConfigurationSaysSo) {
  const std::vector<std::string> other = {"http://127.0.0.2:39177/healthz"};
  start_agent("tcp_port: 39177\n");
  EXPECT_EQ(over_tcp(other), "000");
  kill_agent();
  start_agent("tcp_port: 39177\ntcp_address: 0.0.0.0\n");
  EXPECT_EQ(over_tcp(other), "200");
  EXPECT_EQ(over_tcp({"-X", "DELETE", "http://127.0.0.2:39177/tare/v1/runs/x"}), "403");
}

// What a page's form, or any user of this host, could send.
TEST_F(AgentOverTcp, NoRunIsBegunOrEnded) {
  start_agent("tcp_port: 39177\n");
  const std::string runs = "http://127.0.0.1:39177/tare/v1/runs";
  EXPECT_EQ(over_tcp({"-X", "POST", "-H", "Content-Type: text/plain", "--data-binary", suite(1), runs}), "403");
  EXPECT_THAT(client().get("/tare/v1/runs"), HasSubstr("\"runs\":[]"));
  const std::string run = post(suite(10000));
  EXPECT_EQ(over_tcp({"-X", "DELETE", runs + "/" + run}), "403");
  EXPECT_EQ(over_tcp({runs + "/" + run}), "200");
  EXPECT_EQ(state_of(run), "running");
  client().request("DELETE", "/tare/v1/runs/" + run);
  EXPECT_TRUE(wait_for_end(run));
}

}  // namespace
}  // namespace tare::test
