#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules for the dashboards that need no server: names are catalogued and emitted, queries parse, panels are complete, files are what
their generator writes. Prints each fault; exit code 1 when there is one."""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

import model

UNITS = {"s", "percentunit", "bytes", "Bps", "short", "none", "hertz", "joule", "watt", "dateTimeFromNow", "ops"}
COLOURS = {"metal": "#73BF69", "container": "#5794F2", "vm": "#FF9830"}
OWN_LABELS = {"job", "instance", "le"}


def check_frame(dashboard):
    if dashboard.get("schemaVersion") != 39:
        yield "schemaVersion is not 39, which Grafana 10 to 13 read"
    if dashboard.get("editable") is not False:
        yield "it is editable: what is provisioned would be lost by an edit"
    if not dashboard.get("uid") or "tare" not in dashboard.get("tags", []):
        yield "uid or tag 'tare' is missing"
    if "__inputs" in dashboard or "${DS_" in str(dashboard):
        yield "it has inputs of an export, which a provisioned file never gets"
    for annotation in dashboard["annotations"]["list"]:
        if not annotation.get("useValueForTime") or "* 1000" not in annotation["expr"]:
            yield f"annotation '{annotation['name']}' does not give its time in milliseconds"


def check_variables(dashboard):
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    if names != ["datasource", "job", "instance", "workload", "backend"]:
        yield f"variables are {names}"
    for index, variable in enumerate(dashboard["templating"]["list"]):
        if variable["type"] != "query":
            continue
        where = f"variable '{variable['name']}'"
        if variable.get("refresh") != 2:
            yield f"{where} is not read again when the time changes"
        if not (variable.get("multi") and variable.get("includeAll") and variable.get("allValue") == ".+"):
            yield f"{where} is not multi with All as .+"
        selector, label = model.variable_query(variable)
        if label != variable["name"]:
            yield f"{where} gives label '{label}'"
        for before in names[1:index]:
            if f'{before}=~"${before}"' not in selector:
                yield f"{where} is not filtered by ${before}"


def check_panel(panel):
    where = f"panel '{panel.get('title', panel.get('id'))}'"
    for key in ("title", "description", "targets"):
        if not panel.get(key):
            yield f"{where} has no {key}"
    if panel.get("datasource", {}).get("uid") != "${datasource}":
        yield f"{where} does not use $datasource"
    defaults = panel["fieldConfig"]["defaults"]
    if defaults.get("unit") not in UNITS:
        yield f"{where} has unit '{defaults.get('unit')}'"
    if panel["type"] == "timeseries" and defaults.get("min") != 0:
        yield f"{where} has an axis that does not begin at 0"
    if panel["type"] == "piechart":
        yield f"{where} is a pie chart"
    colours = {override["matcher"]["options"].strip("/^").removesuffix("\\b"): prop["value"].get("fixedColor")
               for override in panel["fieldConfig"]["overrides"] for prop in override["properties"] if prop["id"] == "color"}
    if colours != COLOURS:
        yield f"{where} does not fix the backends' colours"
    references = [target.get("refId") for target in panel.get("targets", [])]
    if len(set(references)) != len(references):
        yield f"{where} uses a refId twice"
    merged = "merge" in [step["id"] for step in panel.get("transformations", [])]
    if panel["type"] == "table" and len(references) > 1 and not (merged and panel["gridPos"]["w"] >= 12):
        yield f"{where} is a table of several queries that is not merged, or narrower than 12 columns"


def check_places(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        yield "two panels have the same id"
    taken = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24:
            yield f"panel '{panel['title']}' leaves the grid"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken:
                    yield f"panels '{panel['title']}' and '{taken[x, y]}' overlap"
                    return
                taken[x, y] = panel["title"]


def check_query(where, expression, families, emitted):
    names = model.selectors(expression)
    if not names:
        yield f"{where} selects no metric of tare"
    for name, matchers in names:
        family = model.family_of(name, families)
        if family is None:
            yield f"{where}: {name} is not in metrics.tsv"
            continue
        if family not in emitted:
            yield f"{where}: the agent does not emit {family}"
        for label in re.findall(r"(\w+)\s*[=!]~?\s*\"", matchers):
            if label not in OWN_LABELS and label not in families[family][1]:
                yield f"{where}: {family} has no label '{label}'"
        if 'job=~"$job"' not in matchers or 'instance=~"$instance"' not in matchers:
            yield f"{where}: {name} is not limited to $job and $instance"
        for label in ("workload", "backend"):
            if label in families[family][1] and f'{label}=~"${label}"' not in matchers and f'{label}="' not in matchers:
                yield f"{where}: {name} is not limited to ${label}"
    yield from check_counters(where, expression, families)


def check_counters(where, expression, families):
    # A counter means something by its growth: under rate(), or as the quotient of two that began together.
    rest = re.sub(r"sum by \([a-z, ]+\) \(\w+_total\{[^}]*\}\) / sum by \([a-z, ]+\) \(\w+_total\{[^}]*\}\)", "", expression)
    for name, _ in model.selectors(rest):
        family = model.family_of(name, families)
        growing = family is not None and (families[family][0] == "counter" or name.endswith("_bucket"))
        if growing and not re.search(r"\b(rate|irate|increase)\(%s\b" % name, expression):
            yield f"{where}: counter {name} is not under rate() or increase()"
    for window in re.findall(r"\[([^\]]+)\]", re.sub(r"\"[^\"]*\"", "", expression)):
        if window != "$__rate_interval":
            yield f"{where}: window [{window}] is not $__rate_interval"


def check_syntax(queries, promtool):
    """Each query becomes a recording rule, which promtool parses."""
    rules = [{"record": f"check:query:{index}", "expr": model.substituted(expression, {"job": "a", "instance": "b", "workload": "c", "backend": "d"})}
             for index, (_, expression) in enumerate(queries)]
    for (where, _), rule in zip(queries, rules):
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"groups": [{"name": "queries", "rules": [rule]}]}, file)
            file.flush()
            done = subprocess.run([promtool, "check", "rules", "--lint=none", file.name], capture_output=True, text=True, timeout=20, check=False)
        if done.returncode != 0:
            yield f"{where} does not parse: {(done.stdout + done.stderr).strip().splitlines()[-1]}"


def check_dashboard(dashboard, families, emitted, promtool):
    faults = [*check_frame(dashboard), *check_variables(dashboard), *check_places(dashboard)]
    for panel in model.panels(dashboard):
        faults += check_panel(panel)
    queries = list(model.queries(dashboard))
    for where, expression in queries:
        faults += check_query(where, expression, families, emitted)
    return faults + list(check_syntax(queries, promtool))


def check_generated(source):
    generator = pathlib.Path(source, "dashboards/grafana/generate.py")
    done = subprocess.run([sys.executable, str(generator), "--print"], capture_output=True, text=True, timeout=20, check=True)
    if done.stdout != pathlib.Path(source, "dashboards/grafana/dashboards/compare.json").read_text(encoding="utf-8"):
        yield "compare.json is not what generate.py writes: run it and commit both"


def check_provisioning(source, promtool):
    root = pathlib.Path(source, "dashboards")
    sources = yaml.safe_load((root / "grafana/provisioning/datasources/tare.yaml").read_text(encoding="utf-8"))
    provider = yaml.safe_load((root / "grafana/provisioning/dashboards/tare.yaml").read_text(encoding="utf-8"))
    scrape = yaml.safe_load((root / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    if sources.get("apiVersion") != 1 or [entry["type"] for entry in sources["datasources"]] != ["prometheus"]:
        yield "the provisioned data source is not one Prometheus"
    if sources["datasources"][0]["jsonData"]["timeInterval"] != scrape["global"]["scrape_interval"]:
        yield "timeInterval of the data source is not the scrape interval"
    only = provider["providers"][0]
    if provider.get("apiVersion") != 1 or only["type"] != "file" or only["allowUiUpdates"] or not only["options"]["path"]:
        yield "the provisioned dashboards are not files that Grafana leaves alone"
    done = subprocess.run([promtool, "check", "config", str(root / "prometheus/prometheus.yml")], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        yield "prometheus.yml: " + (done.stdout + done.stderr).strip()


def emitted_families(source, families):
    """Families in the agent's own table, which must agree with the catalogue."""
    text = pathlib.Path(source, "agent/metrics_catalogue.cc").read_text(encoding="utf-8")
    emitted, faults = set(), []
    for name, kind, labels in re.findall(r'Family\{"(\w+)", Kind::(\w+), "([\w,]*)"', text):
        emitted.add(name)
        if families.get(name) != (kind, [label for label in labels.split(",") if label]):
            faults.append(f"agent: {name} ({kind}; {labels}) is not what metrics.tsv says: {families.get(name)}")
    if not emitted:
        faults.append("agent/metrics_catalogue.cc has no line that begins Family{\"name\", Kind::")
    return emitted, faults


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--promtool", default="promtool")
    return parser.parse_args()


def main():
    given = arguments()
    families = model.catalogue(given.source)
    emitted, faults = emitted_families(given.source, families)
    faults += [*check_generated(given.source), *check_provisioning(given.source, given.promtool)]
    for path in model.dashboards(given.source):
        faults += [f"{path.name}: {fault}" for fault in check_dashboard(model.load(path), families, emitted, given.promtool)]
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
