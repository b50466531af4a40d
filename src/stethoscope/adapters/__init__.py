"""Other people's tools that Stethoscope speaks through."""
