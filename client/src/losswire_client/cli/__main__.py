from losswire_client.cli import main

main()
