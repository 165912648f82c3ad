"""How often anyone may try: waiting times after wrong codes, captcha, limits, and alarms over what happened."""
