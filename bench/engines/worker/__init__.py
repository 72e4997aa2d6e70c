"""The process of one job: started by an engine, on this machine or another."""
