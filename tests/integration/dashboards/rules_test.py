#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seeds faults in the committed dashboard and expects rules.py to name each."""
import copy
import sys
import unittest

import model
import rules

GIVEN = None


class SeededFaults(unittest.TestCase):
    def setUp(self):
        self.families = model.catalogue(GIVEN.source)
        self.emitted, _ = rules.emitted_families(GIVEN.source, self.families)
        self.dashboard = copy.deepcopy(model.load(model.dashboards(GIVEN.source)[0]))
        self.panel = next(panel for panel in model.panels(self.dashboard) if panel["type"] == "timeseries")
        self.target = self.panel["targets"][0]

    def assert_fault(self, text):
        faults = rules.check_dashboard(self.dashboard, self.families, self.emitted, GIVEN.promtool)
        self.assertTrue([fault for fault in faults if text in fault], f"no fault says '{text}', only {faults}")

    def test_the_committed_dashboard_has_none(self):
        self.assertEqual(rules.check_dashboard(self.dashboard, self.families, self.emitted, GIVEN.promtool), [])

    def test_a_misspelt_metric(self):
        self.target["expr"] = 'tare_instancez{job=~"$job", instance=~"$instance"}'
        self.assert_fault("tare_instancez is not in metrics.tsv")

    def test_a_metric_that_no_agent_emits(self):
        self.target["expr"] = 'tare_density_target_instances{job=~"$job", instance=~"$instance", workload=~"$workload", backend=~"$backend"}'
        self.assert_fault("does not emit tare_density_target_instances")

    def test_a_label_that_the_family_lacks(self):
        self.target["expr"] = 'tare_run_active{job=~"$job", instance=~"$instance", flavour="x"}'
        self.assert_fault("has no label 'flavour'")

    def test_a_query_that_does_not_parse(self):
        self.target["expr"] += " )"
        self.assert_fault("does not parse")

    def test_a_counter_without_rate(self):
        self.target["expr"] = 'process_cpu_seconds_total{job=~"$job", instance=~"$instance"}'
        self.assert_fault("is not under rate()")

    def test_a_fixed_window(self):
        self.target["expr"] = 'rate(process_cpu_seconds_total{job=~"$job", instance=~"$instance"}[5m])'
        self.assert_fault("window [5m]")

    def test_a_query_over_all_agents(self):
        self.target["expr"] = "tare_run_active"
        self.assert_fault("is not limited to $job and $instance")

    def test_a_panel_without_description(self):
        self.panel["description"] = ""
        self.assert_fault("has no description")

    def test_an_unknown_unit(self):
        self.panel["fieldConfig"]["defaults"]["unit"] = "seconds"
        self.assert_fault("has unit 'seconds'")

    def test_other_colours(self):
        self.panel["fieldConfig"]["overrides"].pop()
        self.assert_fault("does not fix the backends' colours")

    def test_panels_that_overlap(self):
        self.panel["gridPos"]["y"] -= 3
        self.assert_fault("overlap")

    def test_a_variable_that_is_never_read_again(self):
        self.dashboard["templating"]["list"][1]["refresh"] = 0
        self.assert_fault("is not read again")


if __name__ == "__main__":
    GIVEN = rules.arguments()
    unittest.main(argv=sys.argv[:1], verbosity=2)
