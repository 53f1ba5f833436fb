from flowercls.commands._cli import main

if __name__ == '__main__':
    main('export')
