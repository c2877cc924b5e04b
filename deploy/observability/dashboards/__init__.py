"""Grafana's dashboards; write_dashboards.py, beside this folder, writes their files."""
