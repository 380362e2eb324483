import http.server,socketserver,time,json,threading
class H(http.server.BaseHTTPRequestHandler):
    protocol_version='HTTP/1.1'
    def do(self):
        if self.path=='/slow': time.sleep(0.12)
        code=500 if self.command=='POST' else 200
        b=(self.connection.getsockname()[0]+'\n').encode()
        self.send_response(code); self.send_header('Content-Length',str(len(b))); self.end_headers(); self.wfile.write(b)
    do_GET=do_POST=do
    def log_message(self,*a): pass
class S(socketserver.ThreadingMixIn,http.server.HTTPServer): daemon_threads=True
S(('0.0.0.0',8099),H).serve_forever()
