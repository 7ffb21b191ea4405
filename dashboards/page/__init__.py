"""The posture page, server-rendered."""
