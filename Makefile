test:
	python3 -m compileall -q harness
