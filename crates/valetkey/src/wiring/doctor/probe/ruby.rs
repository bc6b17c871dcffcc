//! Ruby's own library.

use super::{PLAIN, Probe};

pub(super) const RUBY: Probe = Probe {
    subject: "ruby net/http",
    programs: &["ruby"],
    files: &[(
        "probe.rb",
        "require 'net/http'
uri = URI('https://probe.valetkey.test/user')
request = Net::HTTP::Get.new(uri, 'Authorization' => 'Bearer ' + ENV['DOCTOR_TOKEN'])
puts Net::HTTP.start(uri.host, uri.port, use_ssl: true) { |http| http.request(request) }.body
",
    )],
    script: r#"exec "$PROGRAM" probe.rb"#,
    mend: "this Ruby honours neither https_proxy nor SSL_CERT_FILE; a program that sets `proxy_address` or `ca_file` itself must \
           take them from the environment",
    ..PLAIN
};
