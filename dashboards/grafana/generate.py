#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes dashboards/compare.json, the Grafana dashboard "Compare".

A dashboard's JSON repeats colours, matchers and defaults in every panel; here each is said once. The JSON is committed, so that Grafana
needs no Python, and a test compares it with what this writes. `generate.py --print` writes to stdout instead.
"""
import json
import pathlib
import sys

COLOURS = {"metal": "#73BF69", "container": "#5794F2", "vm": "#FF9830"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
AGENT = 'job=~"$job", instance=~"$instance"'
SERIES = AGENT + ', workload=~"$workload", backend=~"$backend"'

MAPPINGS_EMULATED = [{"type": "value", "options": {
    "0": {"text": "accelerated", "color": "green", "index": 0},
    "1": {"text": "emulated: do not rank", "color": "red", "index": 1}}}]


def target(expr, legend, ref="A", kind="range", table=False):
    """One query. `kind`: "range" for lines, "instant" for the newest value."""
    return {"refId": ref, "datasource": DATASOURCE, "expr": expr, "legendFormat": legend, "instant": kind == "instant",
            "range": kind == "range", "format": "table" if table else "time_series", "exemplar": False, "editorMode": "code"}


def colours():
    return [{"matcher": {"id": "byRegexp", "options": f"/^{backend}\\b/"},
             "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]} for backend, colour in COLOURS.items()]


def panel(kind, title, description, unit, targets, options=None, overrides=(), transformations=(), **defaults):
    body = {"type": kind, "title": title, "description": description, "datasource": DATASOURCE, "targets": targets,
            "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": colours() + list(overrides)},
            "options": options or {}}
    if transformations:
        body["transformations"] = list(transformations)
    return body


def stat(title, description, unit, expr, legend, **defaults):
    options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value", "graphMode": "none",
               "textMode": "value_and_name", "orientation": "auto", "justifyMode": "auto"}
    return panel("stat", title, description, unit, [target(expr, legend, kind="instant")], options, **defaults)


def bars(title, description, unit, expr, legend, **defaults):
    options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "horizontal",
               "displayMode": "basic", "showUnfilled": False, "valueMode": "text", "namePlacement": "left", "minVizHeight": 12}
    return panel("bargauge", title, description, unit, [target(expr, legend, kind="instant")], options, min=0, **defaults)


def lines(title, description, unit, *targets):
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "auto", "spanNulls": False, "axisSoftMin": 0}
    return panel("timeseries", title, description, unit, list(targets), options, min=0, custom=custom)


EMULATED = f'tare_backend_info{{{AGENT}, backend="vm", implementation=~".*emulated.*"}}'


def labelled(expr, match="job, instance, backend"):
    """The same series, those of an emulated VM as "vm (emulated)": such a number must not be taken for one of a VM."""
    renamed = f'label_replace({expr} and on ({match}) {EMULATED}, "backend", "vm (emulated)", "backend", ".*")'
    return f"{renamed} or ({expr} unless on ({match}) {EMULATED})"


def per_trial(counter, extra=""):
    """A counter's growth in one trial, averaged since the agent began. Both counters begin with the agent, so no window is needed, and
    the first trial counts, which rate() would lose."""
    by = "by (backend, workload)"
    return labelled(f"sum {by} ({counter}{{{SERIES}{extra}}}) / sum {by} (tare_trials_total{{{SERIES}}})", "backend")


def ratio_table():
    columns = [("A", "tare_overhead_ratio", "× metal"), ("B", "tare_overhead_ci_lower_ratio", "95 % from"),
               ("C", "tare_overhead_ci_upper_ratio", "95 % to")]
    targets = [target(labelled(f"{name}{{{SERIES}}}"), "", ref, "instant", table=True) for ref, name, _ in columns]
    organize = {"id": "organize", "options": {
        "excludeByName": {"Time": True, "__name__": True, "instance": True, "job": True},
        "indexByName": {"workload": 0, "measure": 1, "backend": 2, "Value #A": 3, "Value #B": 4, "Value #C": 5},
        "renameByName": {f"Value #{ref}": text for ref, _, text in columns}}}
    sort = {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "measure", "desc": False}]}}
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}}
    return panel("table", "Ratio to metal, with its 95 % interval",
                 "Above 1 is worse than metal, whatever is measured. An interval that spans 1 shows no difference; without six pairs of "
                 "trials there is no interval. An emulated VM is listed under that name, not ranked.",
                 "none", targets, options, transformations=[{"id": "merge", "options": {}}, organize, sort], decimals=2)


def backend_table():
    organize = {"id": "organize", "options": {
        "excludeByName": {"Time": True, "Value": True, "__name__": True, "instance": True, "job": True},
        "indexByName": {"backend": 0, "implementation": 1, "version": 2}, "renameByName": {}}}
    return panel("table", "Backends", "What stands behind each name on this host. Says 'emulated' where the VM has no hardware support.",
                 "none", [target(f'tare_backend_info{{{AGENT}, backend=~"$backend"}}', "", kind="instant", table=True)],
                 {"showHeader": True, "cellHeight": "sm"}, transformations=[organize])


def heatmap():
    expr = f"sum by (le) (increase(tare_start_duration_seconds_bucket{{{SERIES}}}[$__rate_interval]))"
    query = target(expr, "{{le}}")
    query["format"] = "heatmap"
    options = {"calculate": False, "yAxis": {"unit": "s", "axisPlacement": "left"}, "cellGap": 1, "rowsFrame": {"layout": "auto"},
               "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5}, "legend": {"show": True},
               "tooltip": {"show": True, "yHistogram": False}}
    return panel("heatmap", "Starts over time",
                 "Each cell counts starts that took that long. Two bands are two backends, or a cold and a warm start.", "short", [query], options)


def layout():
    """(height, panels with their widths) per line; a text begins a row."""
    return [
        "Verdict",
        (5, [(8, stat("Median start", "From the request to readiness in the last run.", "s",
                      labelled(f'tare_result_start_seconds{{{SERIES}, stat="p50"}}'), "{{backend}} {{workload}}", decimals=2)),
             (6, stat("Start, × metal", "Median of the paired ratios to metal; 1 is as fast as metal.", "none",
                      labelled(f'tare_overhead_ratio{{{SERIES}, measure="start", backend!="metal"}}'), "{{backend}} {{workload}}", decimals=2)),
             (4, stat("VM", "An emulated VM runs its guest in software: its numbers say nothing about VMs with hardware support.", "none",
                      f'max({EMULATED}) or 0 * max(tare_backend_info{{{AGENT}, backend="vm"}})', "vm",
                      mappings=MAPPINGS_EMULATED)),
             (6, stat("Valid trials", "Trials behind the last result. Fewer than six give no interval.", "short",
                      labelled(f"tare_result_trials{{{SERIES}}}"), "{{backend}} {{workload}}",
                      thresholds={"mode": "absolute", "steps": [{"color": "red", "value": None}, {"color": "green", "value": 6}]},
                      color={"mode": "thresholds"}))]),
        (5, [(10, backend_table()),
             (8, bars("Progress of the run", "Finished trials of those planned, in the active or last run.", "percentunit",
                      labelled(f"sum by (backend) (tare_run_trials_completed{{{SERIES}}}) / sum by (backend) (tare_run_trials_planned{{{SERIES}}})",
                               "backend"), "{{backend}}", max=1)),
             (6, stat("Results from", "When the results on this page were computed.", "dateTimeFromNow",
                      f'max by (workload) (tare_result_timestamp_seconds{{{AGENT}, workload=~"$workload"}}) * 1000', "{{workload}}"))]),
        "Start",
        (8, [(12, bars("Phases: metal and container", "Median of each phase of a start; the phases of a start add up to it.", "s",
                       f'tare_result_phase_seconds{{{SERIES}, stat="p50", backend!="vm"}}', "{{backend}} {{workload}} {{phase}}", decimals=2)),
             (12, bars("Phases: VM", "The same on a scale of its own, which would hide the others.", "s",
                       labelled(f'tare_result_phase_seconds{{{SERIES}, stat="p50", backend="vm"}}'), "{{backend}} {{workload}} {{phase}}", decimals=2))]),
        (9, [(14, ratio_table()), (10, heatmap())]),
        "Basic operations",
        (10, [(12, bars("Container, × metal", "Time of one operation in a container to that on metal; 1 is no cost.", "none",
                        f'tare_overhead_ratio{{{SERIES}, measure=~"probe[.][^.]+", backend="container"}}', "{{backend}} {{measure}}", decimals=2)),
              (12, bars("VM, × metal", "Time of one operation in a VM to that on metal; 1 is no cost.", "none",
                        labelled(f'tare_overhead_ratio{{{SERIES}, measure=~"probe[.][^.]+", backend="vm"}}'), "{{backend}} {{measure}}", decimals=2))]),
        "Resources, seen from the host",
        (8, [(8, bars("CPU time of a trial", "User and system time charged to one trial, averaged since the agent began. A VM's contains QEMU.",
                      "s", per_trial("tare_cpu_usage_seconds_total"), "{{backend}} {{workload}}", decimals=2)),
             (8, bars("Peak memory", "Of the control group in the last trial. A VM's contains QEMU and the guest's page cache.", "bytes",
                      labelled(f"tare_memory_peak_bytes{{{SERIES}}}"), "{{backend}} {{workload}}")),
             (8, bars("Context switches of a trial", "Voluntary and involuntary, averaged since the agent began.", "short",
                      per_trial("tare_context_switches_total"), "{{backend}} {{workload}}", decimals=0))]),
        "What measuring itself costs",
        (7, [(12, lines("Agent: CPU", "CPU time of the agent and its launcher. 1 % is one hundredth of one CPU.", "percentunit",
                        target(f"rate(process_cpu_seconds_total{{{AGENT}}}[$__rate_interval])", "agent {{instance}}"))),
             (12, lines("Agent: memory", "Resident memory of the agent, libvirt's driver included.", "bytes",
                        target(f"process_resident_memory_bytes{{{AGENT}}}", "agent {{instance}}")))]),
    ]


def placed(lines_of_panels):
    panels, y = [], 0
    for line in lines_of_panels:
        if isinstance(line, str):
            panels.append({"id": len(panels) + 1, "type": "row", "title": line, "collapsed": False, "panels": [],
                           "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
            y += 1
            continue
        height, cells = line
        x = 0
        for width, body in cells:
            panels.append({"id": len(panels) + 1, **body, "gridPos": {"h": height, "w": width, "x": x, "y": y}})
            x += width
        assert x == 24, f"a line is {x} columns wide"
        y += height
    return panels


def variable(name, label, metric):
    query = f"label_values({metric}, {name})"
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "definition": query,
            "query": {"qryType": 1, "query": query, "refId": f"{name}"}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            "allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}, "options": [], "regex": "", "hide": 0}


def variables():
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "multi": False,
         "includeAll": False, "current": {}, "options": [], "regex": "", "hide": 0},
        variable("job", "Job", "tare_build_info"),
        variable("instance", "Agent", 'tare_build_info{job=~"$job"}'),
        variable("workload", "Workload", f"tare_result_trials{{{AGENT}}}"),
        variable("backend", "Backend", f'tare_result_trials{{{AGENT}, workload=~"$workload"}}'),
    ]


def run_annotation():
    # Grafana takes the series' value for the time of the mark, in milliseconds.
    return {"name": "Runs", "enable": True, "iconColor": "#B877D9", "datasource": DATASOURCE,
            "expr": f"tare_run_start_time_seconds{{{AGENT}}} * 1000", "useValueForTime": True, "step": "15s",
            "titleFormat": "Run began", "textFormat": "{{instance}}"}


def dashboard():
    return {
        "uid": "tare-compare", "title": "tare: Compare", "description": "One workload on metal, in a container and in a VM: what isolation costs.",
        "tags": ["tare"], "schemaVersion": 39, "version": 1, "editable": False, "graphTooltip": 1, "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"}, "timezone": "browser", "fiscalYearStartMonth": 0, "weekStart": "",
        "annotations": {"list": [run_annotation()]}, "templating": {"list": variables()},
        "links": [{"type": "dashboards", "title": "tare", "tags": ["tare"], "asDropdown": True, "includeVars": True, "keepTime": True}],
        "panels": placed(layout()),
    }


def main():
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(text)
        return
    pathlib.Path(__file__).with_name("dashboards").joinpath("compare.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
