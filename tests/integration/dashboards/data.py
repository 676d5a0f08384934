#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Executes every query of the dashboards: a real Prometheus reads a real agent through a run. A query fails when it gives an error, no
series, only NaN, a series that lacks a label of its legend, or an emulated VM under the name of a VM. Faults that are seeded into the
dashboard must be found too. Prometheus is configured by the shipped file. Everything is on 127.0.0.1 and below a temporary directory."""
import argparse
import contextlib
import copy
import json
import math
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

import model

SHIPPED_TARGET = "127.0.0.1:9177"
ALL = {"datasource": "", "job": ".+", "instance": ".+", "workload": ".+", "backend": ".+"}  # what the variables stand for
MOST_SERIES = 2000  # of one agent after one run: a label without bound would pass it


class Fault(Exception):
    """A sentence for the person who reads the test's output."""


def get(url, timeout=10):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def wait_for(url, process, log, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Fault(f"{process.args[0]} ended with {process.returncode}: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError):
            get(url, 2)
            return
        time.sleep(0.1)
    raise Fault(f"{url} did not answer within {seconds} s: {log.read_text()[-2000:]}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(argv, environment, log):
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Prometheus:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def ask(self, path, **parameters):
        try:
            answer = json.loads(get(f"{self.base}/api/v1/{path}?" + urllib.parse.urlencode(parameters)))
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read().decode())
        if answer["status"] != "success":
            raise Fault(answer.get("error", str(answer)))
        return answer["data"]

    def label_values(self, selector, label):
        return sorted({series[label] for series in self.ask("series", **{"match[]": selector}) if label in series})


def values_of(series):
    points = series["values"] if "values" in series else [series["value"]]
    return [float(value) for _, value in points]


def check_target(prometheus, target, began, scrape):
    expression = model.substituted(target["expr"], ALL, f"{4 * scrape}s")
    if target["instant"]:
        result = prometheus.ask("query", query=expression)["result"]
    else:
        result = prometheus.ask("query_range", query=expression, start=began, end=time.time(), step=scrape)["result"]
    if not result:
        raise Fault(f"no series: {expression}")
    numbers = [number for series in result for number in values_of(series) if not math.isnan(number)]
    if not numbers:
        raise Fault(f"only NaN: {expression}")
    if target["format"] == "heatmap" and not any(number > 0 for number in numbers):
        raise Fault(f"only zeros: {expression}")
    for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]):
        if not all(series["metric"].get(label) for series in result):
            raise Fault(f"a series has no label '{label}' for the legend: {expression}")
    measures = not expression.startswith("tare_backend_info")  # which says itself that it is emulated
    if measures and any(series["metric"].get("backend") == "vm" for series in result):  # it is emulated: see prepare()
        raise Fault(f"an emulated VM is not named so: {expression}")
    return len(result)


def check_dashboard(prometheus, dashboard, began, scrape):
    faults, count = [], 0
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = model.variable_query(variable)
            found = prometheus.label_values(model.substituted(selector, ALL), label)
            print(f"variable {variable['name']}: {found}")
            if not found:
                faults.append(f"variable {variable['name']} is empty")
    for annotation in dashboard["annotations"]["list"]:
        milliseconds = prometheus.ask("query", query=model.substituted(annotation["expr"], ALL))["result"]
        if not milliseconds or not began - 5 <= float(milliseconds[0]["value"][1]) / 1000 <= time.time() + 1:
            faults.append(f"annotation {annotation['name']} does not mark the run: {milliseconds}")
    for panel in model.panels(dashboard):
        for target in panel["targets"]:
            try:
                found = check_target(prometheus, target, began, scrape)
                print(f"ok: {panel['title']} {target['refId']}: {found} series")
                count += 1
            except Fault as fault:
                faults.append(f"{panel['title']} {target['refId']}: {fault}")
    if count == 0:
        faults.append("no query was executed")
    return faults


def check_seeded(prometheus, dashboard, began, scrape):
    """Puts one fault after the other into the dashboard; a fault that is not found is one of this check."""
    seeds = [("expr", 'tare_run_active{job="no such job"}', "no series"), ("expr", "tare_run_active * NaN", "only NaN"),
             ("legendFormat", "{{flavour}}", "no label 'flavour'"), ("expr", "tare_run_active )", "parse error"),
             ("expr", 'tare_result_trials{backend="vm"}', "an emulated VM is not named so")]
    for key, value, expected in seeds:
        faulty = copy.deepcopy(dashboard)
        panel = next(panel for panel in model.panels(faulty) if panel["type"] == "stat")
        panel["targets"][0][key] = value
        with contextlib.redirect_stdout(None):
            faults = check_dashboard(prometheus, faulty, began, scrape)
        if not any(panel["title"] in fault and expected in fault for fault in faults):
            yield f"{key} '{value}' in panel {panel['title']} was not found to be a fault, only {faults}"


def check_exposition(text, promtool):
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        yield f"promtool check metrics: {done.stdout}{done.stderr}"
    series = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
    print(f"{series} series")
    if series > MOST_SERIES:
        yield f"{series} series are more than {MOST_SERIES}"


def check_names(text, families):
    for name in sorted(set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.MULTILINE))):
        if model.family_of(name, families) is None:
            yield f"the agent emits {name}, which is not in metrics.tsv"


def prepare(directory, port):
    """An environment with a state of its own, which finds the guest kernels that this host has."""
    state = directory / "state"
    state.mkdir()
    kernels = pathlib.Path(os.environ.get("TARE_STATE_DIR", "/var/lib/tare"), "kernels")
    if kernels.is_dir():
        (state / "kernels").symlink_to(kernels)
    # TCG runs everywhere, and needs no self-test of KVM, which takes half a minute where KVM is broken.
    (directory / "agent.yaml").write_text(f"tcp_port: {port}\nvm:\n  accelerator: tcg\n", encoding="utf-8")
    return {**os.environ, "TARE_STATE_DIR": str(state), "TARE_RUN_DIR": str(directory / "run")}


def configure(source, directory, port):
    """The shipped prometheus.yml, of this agent instead of the one on the standard port: (its path, seconds between two scrapes)."""
    text = pathlib.Path(source, "dashboards/prometheus/prometheus.yml").read_text(encoding="utf-8")
    if text.count(SHIPPED_TARGET) != 1:
        raise Fault(f"prometheus.yml does not read {SHIPPED_TARGET}, where configs/agent.yaml listens")
    path = directory / "prometheus.yml"
    path.write_text(text.replace(SHIPPED_TARGET, f"127.0.0.1:{port}"), encoding="utf-8")
    return path, int(yaml.safe_load(text)["global"]["scrape_interval"].removesuffix("s"))


def measure(given, directory):
    agent_port, port = free_port(), free_port()
    environment = prepare(directory, agent_port)
    agent_argv = [given.tare, "agent", "--config", str(directory / "agent.yaml")]
    config, scrape = configure(given.source, directory, agent_port)
    prometheus_argv = [given.prometheus, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
                       f"--web.listen-address=127.0.0.1:{port}"]
    metrics = f"http://127.0.0.1:{agent_port}/metrics"
    with running(agent_argv, environment, directory / "agent.log") as agent, \
            running(prometheus_argv, environment, directory / "prometheus.log") as server:
        wait_for(metrics, agent, directory / "agent.log", 60)
        wait_for(f"http://127.0.0.1:{port}/-/ready", server, directory / "prometheus.log", 30)
        time.sleep(2 * scrape)
        began = time.time()
        suite = pathlib.Path(__file__).with_name("suite.yaml")
        done = subprocess.run([given.tare, "bench", str(suite)], env=environment, cwd=directory, capture_output=True, text=True, timeout=400, check=False)
        print(done.stdout)
        if done.returncode != 0:
            log = (directory / "agent.log").read_text(encoding="utf-8")
            raise Fault(f"tare bench ended with {done.returncode}: {done.stderr[-3000:]}\nthe agent said: {log[-3000:]}")
        time.sleep(3 * scrape)
        text = get(metrics)
        faults = [*check_exposition(text, given.promtool), *check_names(text, model.catalogue(given.source))]
        for path in model.dashboards(given.source):
            dashboard = model.load(path)
            faults += [*check_dashboard(Prometheus(port), dashboard, began, scrape), *check_seeded(Prometheus(port), dashboard, began, scrape)]
        return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--tare", required=True)
    parser.add_argument("--prometheus", default="prometheus")
    parser.add_argument("--promtool", default="promtool")
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("not root: the agent could start no workload", file=sys.stderr)
        return 77
    with tempfile.TemporaryDirectory(prefix="tare-") as name:
        try:
            faults = measure(given, pathlib.Path(name))
        except Fault as fault:
            faults = [str(fault)]
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
