"""Support: tickets that users open and operators answer (P27), and announcements of new features (P28)."""
