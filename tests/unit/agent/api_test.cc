// SPDX-License-Identifier: Apache-2.0
// The error body and the answers of requests that reach no run.
#include "agent/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "agent/wire.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent {
namespace {

using testing::HasSubstr;

class NoBackends : public BackendSet {
 public:
  std::vector<Backend*> all() const override { return {}; }
  ControlGroups* control_groups() const override { return nullptr; }
  std::vector<pid_t> helpers() const override { return {}; }
  std::vector<Check> checks() const override { return {}; }
};

class ApiTest : public testing::Test {
 protected:
  Response ask(const std::string& method, const std::string& target, const std::string& host = "", const std::string& body = "") {
    Request request;
    request.method = method;
    request.target = target;
    request.host = host;
    request.body = body;
    request.over_tcp = !host.empty();
    return api_.handle(request);
  }
  TempDir dir_;
  Paths paths_{dir_.path(), dir_.path(), {}};
  NoBackends backends_;
  Store store_{paths_.database()};
  EventHub hub_;
  Metrics metrics_;
  Runs runs_{paths_, backends_, store_, hub_, metrics_};
  Api api_{runs_, store_, metrics_};
};

std::string own_host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

TEST(ErrorBody, IsReadBackAsTheSameError) {
  const Error e(Code::not_found, "there is no run \"x\"\n", "look\tagain");
  const Error back = error_from(error_body(e), 404);
  EXPECT_EQ(back.code(), e.code());
  EXPECT_EQ(back.sentence(), e.sentence());
  EXPECT_EQ(back.hint(), e.hint());
}

TEST(ErrorBody, OfAnotherProgramIsAnInternalFault) { EXPECT_EQ(error_from("<html>", 502).code(), Code::internal); }

TEST_F(ApiTest, AnUnknownPathIs404AndAWrongMethod405) {
  EXPECT_EQ(ask("GET", "/nothing").status, 404);
  const Response wrong = ask("PATCH", "/tare/v1/runs");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("Allow"), "GET, POST");
  EXPECT_EQ(error_from(wrong.body, 405).code(), Code::invalid);
}

TEST_F(ApiTest, OverTcpAddressesAndNamesOfThisHostAreHosts) {
  EXPECT_EQ(ask("GET", "/healthz", "127.0.0.1:9177").status, 200);
  EXPECT_EQ(ask("GET", "/healthz", "localhost:9177").status, 200);
  EXPECT_EQ(ask("GET", "/healthz", "192.0.2.7:9177").status, 200);
  EXPECT_EQ(ask("GET", "/healthz", "[2001:db8::7]:9177").status, 200);
  EXPECT_EQ(ask("GET", "/healthz", own_host_name() + ":9177").status, 200);
  EXPECT_EQ(ask("GET", "/healthz", "rebound.example:9177").status, 400);
  EXPECT_EQ(ask("GET", "/healthz", own_host_name() + ".rebound.example:9177").status, 400);
  EXPECT_EQ(ask("GET", "/healthz", "192.0.2.7.rebound.example:9177").status, 400);
}

TEST_F(ApiTest, OverTcpNothingCanBeChanged) {
  const std::string suite =
      "name: s\nworkloads: {w: {image: tare/probe, ready: executed}}\nexperiments: [{name: e, measure: start, workload: w}]\n";
  const Response refused = ask("POST", "/tare/v1/runs", "127.0.0.1:9177", suite);
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(error_from(refused.body, 403).hint(), "use the unix socket");
  EXPECT_EQ(ask("DELETE", "/tare/v1/runs/x", "127.0.0.1:9177").status, 403);
  EXPECT_FALSE(runs_.active());
  EXPECT_TRUE(store_.runs().empty());
  EXPECT_EQ(ask("DELETE", "/tare/v1/runs/x").status, 404);  // over the unix socket it is looked for
}

TEST_F(ApiTest, OverTcpAPageOfAnotherSiteIsRefused) {
  const auto from = [&](const std::string& origin, const std::string& site) {
    Request request;
    request.method = "GET";
    request.target = "/healthz";
    request.host = "127.0.0.1:9177";
    request.origin = origin;
    request.fetch_site = site;
    request.over_tcp = true;
    return api_.handle(request).status;
  };
  EXPECT_EQ(from("http://127.0.0.1:9177", "same-origin"), 200);
  EXPECT_EQ(from("", "none"), 200);  // typed into the address line
  EXPECT_EQ(from("http://evil.example", ""), 403);
  EXPECT_EQ(from("null", ""), 403);
  EXPECT_EQ(from("http://127.0.0.1:8080", ""), 403);  // another service of this host
  EXPECT_EQ(from("", "cross-site"), 403);
}

TEST_F(ApiTest, ASuiteThatNamesABackendThatIsNotThereIsRefused) {
  const Response refused =
      ask("POST", "/tare/v1/runs", "",
          "name: s\nworkloads: {w: {image: tare/probe, ready: executed}}\nexperiments: [{name: e, measure: start, workload: w}]\n");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("there is no backend 'metal'"));
  EXPECT_FALSE(runs_.active());
}

TEST_F(ApiTest, ATableOfARunThatGoesOnIsDrawnFromTheResultStoredLast) {
  const std::string suite =
      "name: s\nworkloads: {w: {image: tare/probe, ready: exit}}\nexperiments: [{name: e, measure: start, workload: w}]\n";
  store_.begin_run("r", bench::load_suite(suite, "s.yaml"), {}, 1);
  EXPECT_EQ(ask("GET", "/tare/v1/runs/r/result?format=table").status, 404);  // no trial has ended
  store_.set_result("r", R"({"schema": "tare.result/2", "suite": {"name": "as-stored"}, "run": {"id": "r"}})", "# report\n");
  const Response table = ask("GET", "/tare/v1/runs/r/result?format=table&width=80");
  EXPECT_EQ(table.status, 200);
  EXPECT_EQ(table.type, "text/plain; charset=utf-8");
  EXPECT_THAT(table.body, HasSubstr("as-stored"));
  EXPECT_EQ(ask("GET", "/tare/v1/runs/r/result?format=markdown").body, "# report\n");
  EXPECT_EQ(ask("GET", "/tare/v1/runs/r/result?format=table&width=wide").status, 400);
}

TEST_F(ApiTest, EveryAnswerIsCountedUnderItsHandler) {
  ask("GET", "/tare/v1/runs/one");
  ask("GET", "/tare/v1/runs/two");
  EXPECT_THAT(metrics_.text(), HasSubstr("tare_agent_http_requests_total{handler=\"/tare/v1/runs/{id}\",code=\"404\"} 2"));
}

TEST_F(ApiTest, MetricsSayTheirFormat) { EXPECT_EQ(ask("GET", "/metrics").type, "text/plain; version=0.0.4; charset=utf-8"); }

}  // namespace
}  // namespace tare::agent
