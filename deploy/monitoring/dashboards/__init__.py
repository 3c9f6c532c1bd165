"""The dashboards of Grafana, built by its typed library from the tables of figures."""
