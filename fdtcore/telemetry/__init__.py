"""The record of a run, and what is drawn of it: what both frameworks' reports share.

============  ==============================================================
trace_file    one JSON object a line, written as the run goes, read again
theme         the picture's colours, its size, and PNG
rows          timelines: a row for each process, spans or their shares
html_page     START HERE: the page that holds picture and tables
perfetto      Chrome trace events
report_files  the three files of a report
words         numbers as people read them
============  ==============================================================

Knows neither what a framework records nor what it calls it.
"""
