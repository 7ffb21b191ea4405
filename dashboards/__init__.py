"""Render: boards, posture page, reports."""
