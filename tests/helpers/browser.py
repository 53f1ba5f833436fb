"""A page in headless Chromium, driven by the DevTools protocol over a pipe; no other package is needed."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time

PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
FLAGS = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--hide-scrollbars',
    '--no-first-run',
)


def chromium():
    """The path of a Chromium, None without one; FLOWERCLS_CHROMIUM names another."""
    found = (shutil.which(name) for name in (os.environ.get('FLOWERCLS_CHROMIUM', ''), *PROGRAMS) if name)
    return next(filter(None, found), None)


class Page:
    """One page of a browser of its own; ``requests`` lists the addresses that it and its workers asked for."""

    def __init__(self, profile, timeout_s=120):
        self.timeout_s, self.requests, self.messages = timeout_s, [], []
        self._number, self._buffer, self._session = 0, b'', {}
        to_browser, self._write_end = _pipe()
        self._read_end, from_browser = _pipe()

        def connect():  # Chromium reads from file 3 and writes to file 4
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        self._process = subprocess.Popen(
            [chromium(), *FLAGS, '--remote-debugging-pipe', f'--user-data-dir={profile}', 'about:blank'],
            pass_fds=(3, 4), preexec_fn=connect, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        target = next(t for t in self.call('Target.getTargets')['targetInfos'] if t['type'] == 'page')
        attached = self.call('Target.attachToTarget', targetId=target['targetId'], flatten=True)
        self._session = {'sessionId': attached['sessionId']}
        for domain in ('Page', 'Runtime', 'Network', 'DOM', 'Log'):
            self.call(f'{domain}.enable')
        self.call('Target.setAutoAttach', autoAttach=True, waitForDebuggerOnStart=True, flatten=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._write_end)
        os.close(self._read_end)

    def call(self, method, **params):
        """Call a method of the protocol; returns its result."""
        number = self._send(method, params, self._session)
        while (answer := self._receive()).get('id') != number:
            self._note(answer)
        if 'error' in answer:
            raise RuntimeError(f'{method}: {answer["error"]}')
        return answer['result']

    def _send(self, method, params, session):
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params, **session}
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[os.write(self._write_end, data) :]
        return self._number

    def _receive(self):
        end = time.monotonic() + self.timeout_s
        while b'\0' not in self._buffer:
            ready, _, _ = select.select([self._read_end], [], [], max(0, end - time.monotonic()))
            data = os.read(self._read_end, 1 << 20) if ready else b''
            if not data:
                raise TimeoutError('the browser does not answer' if not ready else 'the browser has ended')
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(message)

    def _note(self, event):
        params = event.get('params', {})
        if event.get('method') == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif event.get('method') == 'Target.attachedToTarget':  # a worker, which waits
            for method in ('Network.enable', 'Runtime.runIfWaitingForDebugger'):
                self._send(method, {}, {'sessionId': params['sessionId']})
        elif event.get('method') == 'Runtime.exceptionThrown':
            self.messages.append(params['exceptionDetails'].get('exception', {}).get('description', ''))
        elif event.get('method') == 'Log.entryAdded':
            self.messages.append(params['entry']['text'])
        elif event.get('method') == 'Runtime.consoleAPICalled':
            self.messages.append(' '.join(str(each.get('value')) for each in params['args']))

    def open(self, path):
        """Open a file, and wait until it is read to its end."""
        self.call('Page.navigate', url=path.absolute().as_uri())
        self.wait_for('document.readyState == "complete"')

    def evaluate(self, script):
        """The value of a JavaScript expression; a promise is awaited."""
        result = self.call('Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in result:
            raise RuntimeError(result['exceptionDetails']['exception'].get('description'))
        return result['result'].get('value')

    def wait_for(self, condition):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + self.timeout_s
        while not self.evaluate(f'Boolean({condition})'):
            if time.monotonic() > end:
                raise TimeoutError(f'{condition} stays false; {self.messages}')
            time.sleep(0.1)

    def choose_files(self, selector, paths):
        """Give files to an ``<input type="file">``."""
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=[str(path.absolute()) for path in paths])


def _pipe():
    """Both ends of a pipe, with numbers that are not in the way of files 3 and 4."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high
