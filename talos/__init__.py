"""Talos: talosctl by subprocess, machine configuration, errors."""
